//! Average directional index.

use ta_lib::{AdxStream, Core};

use crate::market::Bar;

/// ADX with Wilder's smoothing: how strong a trend is, 0 to 100, whichever way it goes.
#[derive(Clone, Debug)]
pub struct Adx {
    period: usize,
    warming: [Vec<f64>; 3],
    stream: Option<AdxStream>,
}

impl Adx {
    /// Over so many bars.
    pub fn new(period: usize) -> Self {
        Self { period, warming: Default::default(), stream: None }
    }

    /// Takes in the next final bar.
    pub fn push(&mut self, bar: &Bar) {
        if let Some(stream) = &mut self.stream {
            // It refuses only what is not finite, and no such bar gets here.
            let _ = stream.update(bar.high, bar.low, bar.close);
            return;
        }
        let [high, low, close] = &mut self.warming;
        high.push(bar.high);
        low.push(bar.low);
        close.push(bar.close);
        if close.len() == 2 * self.period {
            let period = i32::try_from(self.period).unwrap_or(i32::MAX);
            self.stream = Core::new().adx_open(high, low, close, period).ok().map(|(stream, _)| stream);
            self.warming = Default::default();
        }
    }

    /// The value, from the `2 · period`-th bar on.
    pub fn value(&self) -> Option<f64> {
        self.stream.as_ref().map(AdxStream::value)
    }
}
