//! The trend of a timeframe as one number.

/// `100 · sign(EMA20 − EMA50) · min(1, |EMA20 − EMA50| / ATR14) · clamp((ADX14 − 10) / 20, 0, 1)`:
/// from -100, a strong fall, to 100, a strong rise. Without any movement (ATR 0) there is no score.
pub fn trend_score(ema20: f64, ema50: f64, atr14: f64, adx14: f64) -> Option<f64> {
    let spread = ema20 - ema50;
    let width = spread.abs() / atr14;
    if !(width.is_finite() && adx14.is_finite()) {
        return None;
    }
    let direction = if spread > 0.0 {
        1.0
    } else if spread < 0.0 {
        -1.0
    } else {
        0.0
    };
    Some(100.0 * direction * width.min(1.0) * ((adx14 - 10.0) / 20.0).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_formula() {
        assert_eq!(trend_score(110.0, 100.0, 5.0, 30.0), Some(100.0));
        assert_eq!(trend_score(101.0, 100.0, 4.0, 20.0), Some(12.5));
        assert_eq!(trend_score(100.0, 110.0, 5.0, 50.0), Some(-100.0));
        assert_eq!(trend_score(110.0, 100.0, 5.0, 10.0), Some(0.0));
        assert_eq!(trend_score(110.0, 100.0, 0.0, 30.0), None);
        assert_eq!(trend_score(100.0, 100.0, 0.0, 30.0), None);
    }

    proptest! {
        #[test]
        fn it_does_not_depend_on_the_unit_of_the_price(
            fast in 1.0f64..1e5, slow in 1.0f64..1e5, atr in 0.1f64..1e4, adx in 0.0f64..100.0,
        ) {
            let score = trend_score(fast, slow, atr, adx).unwrap();
            // A power of two changes no digit.
            prop_assert_eq!(trend_score(fast * 8.0, slow * 8.0, atr * 8.0, adx), Some(score));
            prop_assert!((-100.0..=100.0).contains(&score));
        }
    }
}
