//! The boundary between prices for analysis (`f64`) and money (`Decimal`).

use rust_decimal::Decimal;

/// The decimal that a person would write for the number: the shortest that reads back as the same bits.
/// None when it is not finite or has no room in a decimal.
pub(crate) fn from_f64(value: f64) -> Option<Decimal> {
    if !value.is_finite() {
        return None;
    }
    let text = value.to_string();
    // Digits beyond the 28th decimal place are beyond what any price means.
    text.parse().ok()
}

/// The nearest `f64`, correctly rounded.
pub(crate) fn to_f64(value: Decimal) -> f64 {
    // Every integer below 2^53 and every power of ten up to the 22nd is exact, and so is one division.
    let mantissa = value.mantissa();
    let power = POWERS_OF_TEN.get(value.scale() as usize);
    match power {
        Some(power) if mantissa.unsigned_abs() < 1 << 53 => mantissa as f64 / power,
        _ => value.to_string().parse().unwrap_or(f64::NAN),
    }
}

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_price_becomes_what_a_person_would_write() {
        let text = |value| from_f64(value).map(|decimal| decimal.to_string());
        assert_eq!(text(0.1).as_deref(), Some("0.1"));
        assert_eq!(text(7165.72).as_deref(), Some("7165.72"));
        assert_eq!(text(1e-8).as_deref(), Some("0.00000001"));
        for value in [f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(from_f64(value), None);
        }
    }

    proptest! {
        #[test]
        fn prices_survive_the_way_there_and_back(price in 1e-4f64..1e10) {
            prop_assert_eq!(from_f64(price).map(to_f64), Some(price));
        }
    }
}
