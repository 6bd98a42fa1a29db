//! Simulated fills: the feed's price, made worse by what trading costs.

use rust_decimal::Decimal;

use crate::decimal;
use crate::output::Side;
use crate::risk::CostRates;

/// How a fill meets the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liquidity {
    /// A market order against a bar's price, which is a mid: pays half the spread, slippage, taker fee.
    TakeAtMid,
    /// A market order against a bid or ask: pays slippage and taker fee.
    TakeAtTouch,
    /// A resting limit order: its own price, maker fee.
    Make,
}

/// A fill with its costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Price before costs.
    pub base_price: Decimal,
    /// Price paid or received.
    pub price: Decimal,
    /// Fee, unrounded.
    pub fee: Decimal,
}

/// A paper venue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paper {
    /// What trading costs here.
    pub costs: CostRates,
}

impl Paper {
    /// Quantities are multiples of this.
    pub const INCREMENT: Decimal = Decimal::from_parts(1, 0, 0, false, 8);
    /// Smallest notional of an order, in the account's currency.
    pub const MINIMUM_NOTIONAL: Decimal = Decimal::ONE;
    /// Largest quantity of an order: with the highest price its notional has room in a decimal.
    pub const MAXIMUM_QUANTITY: Decimal = Decimal::from_parts(0xA4C6_8000, 0x0003_8D7E, 0, false, 0);

    /// Significant digits of a price: few enough that a fill's amounts stay exact in a decimal, and enough
    /// for the smallest of prices.
    pub const PRICE_DIGITS: u32 = 12;

    /// Prices an order that opens (`opening`) or closes a position of that side at a base price. None
    /// when a number has no room in a decimal.
    pub fn price(
        &self,
        liquidity: Liquidity,
        side: Side,
        opening: bool,
        base_price: f64,
        quantity: Decimal,
    ) -> Option<Priced> {
        let CostRates { slippage, half_spread, taker, maker } = self.costs;
        let base_price = decimal::from_f64(base_price)?.round_sf(Self::PRICE_DIGITS)?;
        let (worse, fee_rate) = match liquidity {
            Liquidity::TakeAtMid => (slippage.checked_add(half_spread)?, taker),
            Liquidity::TakeAtTouch => (slippage, taker),
            Liquidity::Make => (Decimal::ZERO, maker),
        };
        let buys = opening == (side == Side::Long);
        let factor = if buys { Decimal::ONE.checked_add(worse)? } else { Decimal::ONE.checked_sub(worse)? };
        let price = base_price.checked_mul(factor)?.round_sf(Self::PRICE_DIGITS)?.normalize();
        let fee = quantity.checked_mul(price)?.checked_mul(fee_rate)?.normalize();
        Some(Priced { base_price, price, fee })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn the_largest_quantity_is_10_to_the_15() {
        assert_eq!(Paper::MAXIMUM_QUANTITY, dec("1000000000000000"));
        assert_eq!(Paper::INCREMENT, dec("0.00000001"));
    }

    #[test]
    fn market_orders_pay_spread_and_slippage_at_a_mid_and_slippage_at_the_touch() {
        let paper = Paper { costs: CostRates::reference() };
        let price = |liquidity, side, opening, base| {
            let priced = paper.price(liquidity, side, opening, base, dec("0.1")).unwrap();
            (priced.price.to_string(), priced.fee.to_string())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(price(Liquidity::TakeAtMid, Side::Long, true, 50_000.0), pair("50075", "3.0045"));
        assert_eq!(price(Liquidity::TakeAtMid, Side::Long, false, 52_000.0), pair("51922", "3.11532"));
        assert_eq!(price(Liquidity::TakeAtMid, Side::Short, true, 52_000.0).0, "51922");
        assert_eq!(price(Liquidity::TakeAtTouch, Side::Long, true, 50_000.0).0, "50050");
        assert_eq!(price(Liquidity::Make, Side::Long, false, 52_000.0), pair("52000", "1.3"));
    }
}
