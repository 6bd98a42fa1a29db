//! Numbers as people read them. The journal has every digit.

use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;

/// An amount: two places.
pub fn money(value: Decimal) -> String {
    format!("{:.2}", value.round_dp(2))
}

/// A price: two places at least, and six significant digits where it is small.
pub fn price(value: Decimal) -> String {
    let rounded = value.round_sf(6).unwrap_or(value).normalize();
    if value.abs() >= Decimal::ONE_THOUSAND || rounded.scale() < 2 {
        money(value)
    } else {
        rounded.to_string()
    }
}

/// A price that is a float: a stop.
pub fn float_price(value: f64) -> String {
    Decimal::from_f64(value).map_or_else(|| value.to_string(), price)
}

/// Any number: four places, and six significant digits where it is smaller than one.
pub fn number(value: f64) -> String {
    let Some(exact) = Decimal::from_f64(value) else { return value.to_string() };
    let small = exact.abs() < Decimal::ONE;
    let rounded = if small { exact.round_sf(6).unwrap_or(exact) } else { exact.round_dp(4) };
    rounded.normalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_prices_keep_their_digits_and_large_ones_their_cents() {
        let shown = |text: &str| price(text.parse().unwrap());
        assert_eq!(
            [shown("29123.456"), shown("100"), shown("0.08123456"), shown("1.5"), shown("12.34567")],
            ["29123.46", "100.00", "0.0812346", "1.50", "12.3457"]
        );
        assert_eq!(float_price(0.0812), "0.0812");
        assert_eq!(money("1.005".parse().unwrap()), "1.00");
        assert_eq!(
            [5.0, 51_234.567_891, -0.000_012_345_678, 0.0].map(number),
            ["5", "51234.5679", "-0.0000123457", "0"]
        );
        assert_eq!(number(1e30), "1000000000000000000000000000000");
    }
}
