//! Average true range.

use ta_lib::{AtrStream, Core};

use crate::market::Bar;

/// ATR with Wilder's smoothing.
#[derive(Clone, Debug)]
pub struct Atr {
    period: usize,
    warming: [Vec<f64>; 3],
    stream: Option<AtrStream>,
}

impl Atr {
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
        if close.len() == self.period + 1 {
            let period = i32::try_from(self.period).unwrap_or(i32::MAX);
            self.stream = Core::new().atr_open(high, low, close, period).ok().map(|(stream, _)| stream);
            self.warming = Default::default();
        }
    }

    /// The value, from the bar after the `period`-th on.
    pub fn value(&self) -> Option<f64> {
        self.stream.as_ref().map(AtrStream::value)
    }
}
