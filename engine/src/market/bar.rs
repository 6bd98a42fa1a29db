//! A bar and what makes it usable.

use serde::{Deserialize, Serialize};

use crate::output::Refusal;

/// Prices of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bar {
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Units of the base that changed hands.
    pub volume: f64,
}

/// Whether a price can be one: within these bounds every product of the ledger has room in a decimal.
pub(crate) fn plausible_price(price: f64) -> bool {
    (1e-8..=1e10).contains(&price)
}

impl Bar {
    /// Checks that the numbers can be a bar's.
    ///
    /// # Errors
    /// The reason and a message with the value and the remedy.
    pub fn check(&self) -> Result<(), (Refusal, String)> {
        let prices = [("open", self.open), ("high", self.high), ("low", self.low), ("close", self.close)];
        for (name, price) in prices {
            if !plausible_price(price) {
                let message =
                    format!("{name} is {price}; a price lies between 1e-8 and 1e10, correct the data");
                return Err((Refusal::BadPrice, message));
            }
            if price > self.high || price < self.low {
                let message = format!(
                    "{name} {price} is not between low {} and high {}; correct the data",
                    self.low, self.high
                );
                return Err((Refusal::BadPrice, message));
            }
        }
        if !(0.0..=1e18).contains(&self.volume) {
            let message = format!("volume is {}; it lies between 0 and 1e18, correct the data", self.volume);
            return Err((Refusal::BadVolume, message));
        }
        Ok(())
    }

    /// Takes in the bar that follows.
    pub(crate) fn extend(&mut self, next: &Self) {
        self.high = self.high.max(next.high);
        self.low = self.low.min(next.low);
        self.close = next.close;
        self.volume += next.volume;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn impossible_bars_are_refused_with_value_and_remedy() {
        let good = Bar { open: 2.0, high: 3.0, low: 1.0, close: 2.5, volume: 0.0 };
        assert_eq!(good.check(), Ok(()));
        let cases = [
            (Bar { open: f64::NAN, ..good }, Refusal::BadPrice, "open is NaN"),
            (Bar { close: -2.5, ..good }, Refusal::BadPrice, "close is -2.5"),
            (Bar { high: f64::INFINITY, ..good }, Refusal::BadPrice, "high is inf"),
            (Bar { low: 0.0, ..good }, Refusal::BadPrice, "low is 0"),
            (Bar { high: 0.5, ..good }, Refusal::BadPrice, "not between low 1 and high 0.5"),
            (Bar { close: 3.5, ..good }, Refusal::BadPrice, "close 3.5 is not between"),
            (Bar { volume: -1.0, ..good }, Refusal::BadVolume, "volume is -1"),
            (Bar { volume: f64::NAN, ..good }, Refusal::BadVolume, "volume is NaN"),
        ];
        for (bar, reason, part) in cases {
            let (refusal, message) = bar.check().unwrap_err();
            assert_eq!(refusal, reason);
            assert!(message.contains(part) && message.contains("correct the data"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_finite_and_ordered(open: f64, high: f64, low: f64, close: f64, volume: f64) {
            let bar = Bar { open, high, low, close, volume };
            if bar.check().is_ok() {
                prop_assert!(low > 0.0 && low <= open && open <= high && low <= close && close <= high);
                prop_assert!(high.is_finite() && volume >= 0.0);
            }
        }
    }
}
