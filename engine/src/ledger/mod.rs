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
