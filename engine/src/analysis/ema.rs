//! Exponential moving average.

use ta_lib::{Core, EmaStream};

/// EMA, seeded with the simple mean of the first bars, as TA-Lib does.
#[derive(Clone, Debug)]
pub struct Ema {
    period: usize,
    warming: Vec<f64>,
    stream: Option<EmaStream>,
}

impl Ema {
    /// An EMA over so many bars.
    pub fn new(period: usize) -> Self {
        Self { period, warming: Vec::with_capacity(period), stream: None }
    }

    /// Takes in the close of the next final bar. Numbers that are not finite are passed over.
    pub fn push(&mut self, close: f64) {
        if !close.is_finite() {
            return;
        }
        if let Some(stream) = &mut self.stream {
            // It refuses only what is not finite.
            let _ = stream.update(close);
            return;
        }
        self.warming.push(close);
        if self.warming.len() == self.period {
            let period = i32::try_from(self.period).unwrap_or(i32::MAX);
            self.stream = Core::new().ema_open(&self.warming, period).ok().map(|(stream, _)| stream);
            self.warming = Vec::new();
        }
    }

    /// The value, from the `period`-th bar on.
    pub fn value(&self) -> Option<f64> {
        self.stream.as_ref().map(EmaStream::value)
    }
}
