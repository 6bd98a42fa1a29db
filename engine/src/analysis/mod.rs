//! Numbers from final bars: incremental, and absent until there are enough bars.
//!
//! Every indicator gives what TA-Lib gives for the same bars from the same first one.

mod adx;
mod atr;
mod ema;
mod extremes;
mod frame;
mod score;

pub use adx::Adx;
pub use atr::Atr;
pub use ema::Ema;
pub use extremes::Extremes;
pub(crate) use frame::Analysis;
pub use score::trend_score;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ta_lib::Core;

    use super::*;
    use crate::market::Bar;

    prop_compose! {
        fn bars()(steps in proptest::collection::vec((-0.05f64..0.05, 0.0f64..0.03, 0.0f64..0.03), 1..200)) -> Vec<Bar> {
            let mut open = 100.0;
            let bars = steps.into_iter().map(|(step, up, down)| {
                let close = open * (1.0 + step);
                let (high, low) = (f64::max(open, close) * (1.0 + up), f64::min(open, close) * (1.0 - down));
                Bar { open: std::mem::replace(&mut open, close), high, low, close, volume: 1.0 }
            });
            bars.collect()
        }
    }

    fn batch(lookback: usize, from: usize, values: &[f64]) -> Vec<Option<f64>> {
        // A series that is too short has no first index.
        if values.is_empty() {
            return Vec::new();
        }
        assert_eq!(from, lookback);
        std::iter::repeat_n(None, from).chain(values.iter().copied().map(Some)).collect()
    }

    proptest! {
        #[test]
        fn every_indicator_is_ta_libs_bit_for_bit_from_the_same_bar_on(bars in bars()) {
            let core = Core::new();
            let (high, low, close): (Vec<_>, Vec<_>, Vec<_>) = bars.iter().map(|b| (b.high, b.low, b.close)).collect();
            let last = close.len() - 1;
            let mut out = vec![0.0; close.len()];

            let (mut ema, mut atr, mut adx) = (Ema::new(20), Atr::new(14), Adx::new(14));
            let mut streamed = [Vec::new(), Vec::new(), Vec::new()];
            for bar in &bars {
                ema.push(bar.close);
                atr.push(bar);
                adx.push(bar);
                for (values, value) in streamed.iter_mut().zip([ema.value(), atr.value(), adx.value()]) {
                    values.push(value);
                }
            }
            let range = core.ema(0, last, &close, 20, &mut out).unwrap();
            check(&streamed[0], &batch(19, range.beg_idx, &out[..range.count]))?;
            let range = core.atr(0, last, &high, &low, &close, 14, &mut out).unwrap();
            check(&streamed[1], &batch(14, range.beg_idx, &out[..range.count]))?;
            let range = core.adx(0, last, &high, &low, &close, 14, &mut out).unwrap();
            check(&streamed[2], &batch(27, range.beg_idx, &out[..range.count]))?;
        }
    }

    fn check(streamed: &[Option<f64>], batch: &[Option<f64>]) -> Result<(), TestCaseError> {
        if batch.is_empty() {
            prop_assert!(streamed.iter().all(Option::is_none));
        } else {
            prop_assert_eq!(streamed, batch);
        }
        Ok(())
    }
}
