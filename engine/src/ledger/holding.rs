//! A position as the ledger sees it: quantity and what it cost.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::output::{Fill, Side};

/// Places to which the cost of a partial close is rounded.
const COST_PLACES: u32 = 8;

/// What is held of an asset, and the sums of the round trip so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// Which way.
    pub side: Side,
    /// Units of the base still held.
    pub quantity: Decimal,
    /// What these cost, fees aside; of a short, what they brought.
    pub cost: Decimal,
    opened: Sums,
    closed: Sums,
    fees: Decimal,
}

/// Sums over fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sums {
    quantity: Decimal,
    amount: Decimal,
    base_amount: Decimal,
}

/// A trade from flat to flat.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundTrip {
    /// Units of the base.
    pub quantity: Decimal,
    /// Mean price of the entries.
    pub entry_price: Decimal,
    /// Mean price of the exits.
    pub exit_price: Decimal,
    /// Profit at the prices before costs.
    pub gross: Decimal,
    /// All fees.
    pub fees: Decimal,
    /// What the account gained.
    pub net: Decimal,
}

/// What a fill changes.
pub(super) struct Booked {
    pub holding: Option<Holding>,
    pub cash: Decimal,
    pub realized: Decimal,
    pub round_trip: Option<RoundTrip>,
}

fn signed(side: Side, amount: Decimal) -> Decimal {
    match side {
        Side::Long => amount,
        Side::Short => negated(amount),
    }
}

/// Zero stays as it is: a negative one is not read back as it was written, and a journal would not be recovered.
fn negated(amount: Decimal) -> Decimal {
    if amount.is_zero() { amount } else { -amount }
}

fn times(a: Decimal, b: Decimal) -> Result<Decimal, LedgerError> {
    a.checked_mul(b).ok_or(LedgerError::OutOfRange)
}

fn plus(a: Decimal, b: Decimal) -> Result<Decimal, LedgerError> {
    a.checked_add(b).ok_or(LedgerError::OutOfRange)
}

impl Sums {
    fn with(self, fill: &Fill) -> Result<Self, LedgerError> {
        Ok(Self {
            quantity: plus(self.quantity, fill.quantity)?,
            amount: plus(self.amount, times(fill.quantity, fill.price)?)?,
            base_amount: plus(self.base_amount, times(fill.quantity, fill.base_price)?)?,
        })
    }

    fn price(&self) -> Result<Decimal, LedgerError> {
        Ok(self.amount.checked_div(self.quantity).ok_or(LedgerError::OutOfRange)?.normalize())
    }
}

impl Holding {
    /// The holding after an entry, from flat or on top of the same side.
    pub(super) fn open(before: Option<&Self>, fill: &Fill) -> Result<Booked, LedgerError> {
        if fill.quantity <= Decimal::ZERO || before.is_some_and(|holding| holding.side != fill.side) {
            return Err(LedgerError::NoHolding);
        }
        let amount = times(fill.quantity, fill.price)?;
        let holding = match before {
            None => Self {
                side: fill.side,
                quantity: fill.quantity,
                cost: amount,
                opened: Sums::default().with(fill)?,
                closed: Sums::default(),
                fees: fill.fee,
            },
            Some(holding) => Self {
                side: fill.side,
                quantity: plus(holding.quantity, fill.quantity)?,
                cost: plus(holding.cost, amount)?,
                opened: holding.opened.with(fill)?,
                closed: holding.closed,
                fees: plus(holding.fees, fill.fee)?,
            },
        };
        let cash = plus(signed(fill.side, negated(amount)), negated(fill.fee))?;
        Ok(Booked { holding: Some(holding), cash, realized: negated(fill.fee), round_trip: None })
    }

    /// What is left after an exit.
    pub(super) fn close(&self, fill: &Fill) -> Result<Booked, LedgerError> {
        let fits = fill.side == self.side && fill.quantity > Decimal::ZERO && fill.quantity <= self.quantity;
        if !fits {
            return Err(LedgerError::NoHolding);
        }
        let amount = times(fill.quantity, fill.price)?;
        let left = self.quantity - fill.quantity;
        let cost = if left.is_zero() {
            self.cost
        } else {
            let share = times(self.cost, fill.quantity)?.checked_div(self.quantity);
            share
                .ok_or(LedgerError::OutOfRange)?
                .round_dp_with_strategy(COST_PLACES, RoundingStrategy::MidpointNearestEven)
        };
        let after = Self {
            side: self.side,
            quantity: left,
            cost: plus(self.cost, negated(cost))?,
            opened: self.opened,
            closed: self.closed.with(fill)?,
            fees: plus(self.fees, fill.fee)?,
        };
        let cash = plus(signed(self.side, amount), negated(fill.fee))?;
        let realized = plus(signed(self.side, plus(amount, negated(cost))?), negated(fill.fee))?;
        let round_trip = if left.is_zero() { Some(after.round_trip()?) } else { None };
        let holding = (!left.is_zero()).then_some(after);
        Ok(Booked { holding, cash, realized, round_trip })
    }

    fn round_trip(&self) -> Result<RoundTrip, LedgerError> {
        let Self { opened, closed, .. } = self;
        let gain = |out: Decimal, paid: Decimal| Ok(signed(self.side, plus(out, negated(paid))?));
        let gross: Decimal = gain(closed.base_amount, opened.base_amount)?;
        let net = plus(gain(closed.amount, opened.amount)?, negated(self.fees))?;
        Ok(RoundTrip {
            quantity: opened.quantity.normalize(),
            entry_price: opened.price()?,
            exit_price: closed.price()?,
            gross: gross.normalize(),
            fees: self.fees.normalize(),
            net: net.normalize(),
        })
    }

    /// What the holding adds to equity at that price; of a short, what it takes away.
    pub fn value(&self, mark: Decimal) -> Decimal {
        signed(self.side, self.quantity.saturating_mul(mark))
    }

    /// Value at the price less cost.
    pub fn unrealized(&self, mark: Decimal) -> Decimal {
        signed(self.side, self.quantity.saturating_mul(mark).saturating_sub(self.cost))
    }

    /// Mean price of what is held.
    pub fn entry_price(&self) -> Decimal {
        self.cost.checked_div(self.quantity).unwrap_or_default().normalize()
    }
}
