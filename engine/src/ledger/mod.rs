//! What the bot owns: cash, holdings and what was earned, in decimals.
//!
//! Every number follows from the fills. Fees are not rounded; the only rounding is the cost that a
//! partial close takes along, half-even at 8 places, and the last close takes the remainder.

mod holding;

use std::collections::BTreeMap;

use crds::Asset;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::output::{Fill, Role};
pub use holding::{Holding, RoundTrip};

/// A fill that cannot be booked. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A result has no room in a decimal.
    #[error("the fill's amounts are beyond what a decimal holds; use a smaller quantity")]
    OutOfRange,
    /// The venue has no account here.
    #[error("there is no account for the fill's venue; deposit first")]
    NoAccount,
    /// There is nothing, or less, to close, or a position of the other side to add to.
    #[error("the fill does not fit the holding; close no more than there is and flip in two steps")]
    NoHolding,
}

/// Cash per venue, holdings and realised profit. All in one currency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    cash: BTreeMap<String, Decimal>,
    holdings: BTreeMap<Asset, Holding>,
    realized: Decimal,
}

impl Ledger {
    /// Adds money to a venue's account, which is opened by it.
    ///
    /// # Errors
    /// When the sum has no room in a decimal.
    pub fn deposit(&mut self, venue: &str, amount: Decimal) -> Result<(), LedgerError> {
        let cash = self.cash.entry(venue.to_owned()).or_default();
        *cash = cash.checked_add(amount).ok_or(LedgerError::OutOfRange)?;
        Ok(())
    }

    /// Whether the venue has an account here.
    pub fn has_account(&self, venue: &str) -> bool {
        self.cash.contains_key(venue)
    }

    /// Books a fill. A close that leaves nothing returns the round trip.
    ///
    /// # Errors
    /// See [`LedgerError`]; then nothing was changed.
    pub fn book(&mut self, fill: &Fill) -> Result<Option<RoundTrip>, LedgerError> {
        let cash = *self.cash.get(&fill.venue).ok_or(LedgerError::NoAccount)?;
        let before = self.holdings.get(&fill.asset);
        let booked = match fill.role {
            Role::Entry => Holding::open(before, fill)?,
            Role::Protect | Role::Exit => before.ok_or(LedgerError::NoHolding)?.close(fill)?,
        };
        let sum = |a: Decimal, b: Decimal| a.checked_add(b).ok_or(LedgerError::OutOfRange);
        let cash = sum(cash, booked.cash)?;
        let realized = sum(self.realized, booked.realized)?;
        // Everything is computed: from here on nothing can fail.
        self.realized = realized;
        self.cash.insert(fill.venue.clone(), cash);
        match booked.holding {
            Some(holding) => {
                self.holdings.insert(fill.asset.clone(), holding);
            }
            None => {
                self.holdings.remove(&fill.asset);
            }
        }
        Ok(booked.round_trip)
    }

    /// Cash at a venue.
    pub fn cash_at(&self, venue: &str) -> Decimal {
        self.cash.get(venue).copied().unwrap_or_default()
    }

    /// Cash at all venues.
    pub fn cash(&self) -> Decimal {
        self.cash.values().fold(Decimal::ZERO, |sum, cash| sum.saturating_add(*cash))
    }

    /// What is held of an asset.
    pub fn holding(&self, asset: &Asset) -> Option<&Holding> {
        self.holdings.get(asset)
    }

    /// Everything held, by asset.
    pub fn holdings(&self) -> impl Iterator<Item = (&Asset, &Holding)> {
        self.holdings.iter()
    }

    /// Profit of what was closed, less all fees paid.
    pub fn realized(&self) -> Decimal {
        self.realized
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Id;
    use crate::output::Side;

    const START: i64 = 10_000;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn asset() -> Asset {
        "BTC-USD".parse().unwrap()
    }

    fn fill(
        role: Role,
        side: Side,
        quantity: Decimal,
        base_price: Decimal,
        price: Decimal,
        fee: Decimal,
    ) -> Fill {
        let at = "2020-05-01T12:00:00Z".parse().unwrap();
        let bot = crate::view::BotId { namespace: "n".into(), name: "b".into() };
        let order = Id::decision(&bot, &asset(), at);
        Fill {
            order,
            at,
            asset: asset(),
            venue: "paper".into(),
            role,
            side,
            quantity,
            base_price,
            price,
            fee,
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.deposit("paper", START.into()).unwrap();
        ledger
    }

    fn equity(ledger: &Ledger, mark: Decimal) -> Decimal {
        ledger.cash() + ledger.holding(&asset()).map_or(Decimal::ZERO, |holding| holding.value(mark))
    }

    #[test]
    fn a_partial_close_takes_its_cost_half_even_and_the_last_one_the_remainder() {
        let mut ledger = ledger();
        let zero = Decimal::ZERO;
        // Cost 1 over 8 units of the last place: a half of the last place is left by an odd share.
        ledger
            .book(&fill(Role::Entry, Side::Long, dec("8"), dec("0.00000001"), dec("0.00000001"), zero))
            .unwrap();
        let cost = |ledger: &Ledger| ledger.holding(&asset()).unwrap().cost;
        assert_eq!(cost(&ledger), dec("0.00000008"));
        let close = |quantity| fill(Role::Exit, Side::Long, dec(quantity), dec("1"), dec("1"), zero);
        assert_eq!(ledger.book(&close("0.5")).unwrap(), None);
        // 0.5 of the last place is rounded to the even 0; 1.5 to the even 2.
        assert_eq!(cost(&ledger), dec("0.00000008"));
        ledger.book(&close("1.5")).unwrap();
        assert_eq!(cost(&ledger), dec("0.00000006"));
        let trip = ledger.book(&close("6")).unwrap().unwrap();
        assert_eq!((trip.quantity, trip.net), (dec("8"), dec("7.99999992")));
        assert_eq!(ledger.holdings().count(), 0);
        assert_eq!(ledger.realized(), trip.net);
    }

    #[test]
    fn where_there_are_neither_fees_nor_gains_a_ledger_is_read_as_it_was_written() {
        for side in [Side::Long, Side::Short] {
            let mut ledger = ledger();
            for (role, quantity) in [(Role::Entry, "1"), (Role::Exit, "0.5"), (Role::Exit, "0.5")] {
                let trip = ledger
                    .book(&fill(role, side, dec(quantity), Decimal::ONE, Decimal::ONE, Decimal::ZERO))
                    .unwrap();
                let written = serde_json::to_string(&ledger).unwrap();
                let read: Ledger = serde_json::from_str(&written).unwrap();
                assert_eq!(serde_json::to_string(&read).unwrap(), written, "{side:?}");
                if let Some(trip) = trip {
                    assert_eq!(format!("{} {}", trip.gross, trip.net), "0 0", "{side:?}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut ledger = ledger();
        let one = Decimal::ONE;
        let book = |ledger: &mut Ledger, role, side, quantity: &str| {
            ledger.book(&fill(role, side, dec(quantity), one, one, Decimal::ZERO)).unwrap_err()
        };
        assert_eq!(book(&mut ledger, Role::Exit, Side::Long, "1"), LedgerError::NoHolding);
        ledger.book(&fill(Role::Entry, Side::Long, one, one, one, Decimal::ZERO)).unwrap();
        let before = ledger.clone();
        assert_eq!(book(&mut ledger, Role::Exit, Side::Long, "1.1"), LedgerError::NoHolding);
        assert_eq!(book(&mut ledger, Role::Exit, Side::Short, "1"), LedgerError::NoHolding);
        assert_eq!(book(&mut ledger, Role::Entry, Side::Short, "1"), LedgerError::NoHolding);
        assert_eq!(book(&mut ledger, Role::Entry, Side::Long, "0"), LedgerError::NoHolding);
        let huge = fill(Role::Entry, Side::Long, Decimal::MAX, Decimal::TWO, Decimal::TWO, Decimal::ZERO);
        assert_eq!(ledger.book(&huge).unwrap_err(), LedgerError::OutOfRange);
        let elsewhere = Fill { venue: "other".into(), ..fill(Role::Entry, Side::Long, one, one, one, one) };
        assert_eq!(ledger.book(&elsewhere).unwrap_err(), LedgerError::NoAccount);
        assert_eq!(ledger, before);
    }

    proptest! {
        #[test]
        fn opening_changes_equity_by_its_costs_only(
            short: bool, quantity in 1i64..1_000_000_000, base in 1i64..100_000_000, worse in 0i64..1000, fee in 0i64..100_000,
        ) {
            let side = if short { Side::Short } else { Side::Long };
            let (quantity, base, fee) = (Decimal::new(quantity, 8), Decimal::new(base, 2), Decimal::new(fee, 6));
            let worse = Decimal::new(worse, 4);
            let price = if short { base - worse } else { base + worse };
            let mut ledger = ledger();
            let before = equity(&ledger, base);
            ledger.book(&fill(Role::Entry, side, quantity, base, price, fee)).unwrap();
            prop_assert_eq!(equity(&ledger, base), before - worse * quantity - fee);
        }

        #[test]
        fn nothing_appears_and_nothing_vanishes(
            short: bool,
            steps in proptest::collection::vec((any::<bool>(), 1i64..100_000_000, 1i64..10_000_000, 0i64..1000), 1..30),
            mark in 1i64..10_000_000,
        ) {
            let side = if short { Side::Short } else { Side::Long };
            let mut ledger = ledger();
            let (mut net, mut fees, mut flows) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
            for (entry, quantity, price, fee) in steps {
                let held = ledger.holding(&asset()).map_or(Decimal::ZERO, |holding| holding.quantity);
                let role = if entry || held.is_zero() { Role::Entry } else { Role::Exit };
                let wanted = Decimal::new(quantity, 8);
                let quantity = if role == Role::Exit { wanted.min(held) } else { wanted };
                let (price, fee) = (Decimal::new(price, 2), Decimal::new(fee, 4));
                let trip = ledger.book(&fill(role, side, quantity, price, price, fee)).unwrap();
                fees += fee;
                let buys = (role == Role::Entry) != short;
                flows += if buys { -quantity * price } else { quantity * price };
                if let Some(trip) = trip {
                    net += trip.net;
                    prop_assert_eq!(ledger.realized(), net);
                }
            }
            prop_assert_eq!(ledger.cash(), Decimal::from(START) + flows - fees);
            let mark = Decimal::new(mark, 2);
            let unrealized = ledger.holding(&asset()).map_or(Decimal::ZERO, |holding| holding.unrealized(mark));
            prop_assert_eq!(equity(&ledger, mark), Decimal::from(START) + ledger.realized() + unrealized);
        }
    }
}
