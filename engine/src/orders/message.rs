//! What goes to a venue and what comes back. The words are those of all venues.

use std::collections::BTreeMap;

use crds::Asset;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::output::{Cancellation, Role, Side};

/// What the agent shall do at a venue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// Send an order. The same id always comes with the same body.
    Submit(Intent),
    /// Withdraw an order.
    Cancel {
        /// Name of the venue.
        venue: String,
        /// The order.
        id: Id,
    },
    /// Ask what became of an order.
    Resolve {
        /// Name of the venue.
        venue: String,
        /// The order.
        id: Id,
        /// When the question was put; the answer repeats it.
        asked: Timestamp,
    },
    /// Read positions and open orders.
    Reconcile {
        /// Name of the venue.
        venue: String,
        /// When the question was put; the answer repeats it.
        asked: Timestamp,
    },
}

impl Command {
    /// Where it goes.
    pub fn venue(&self) -> &str {
        match self {
            Self::Submit(intent) => &intent.venue,
            Self::Cancel { venue, .. } | Self::Resolve { venue, .. } | Self::Reconcile { venue, .. } => venue,
        }
    }
}

/// An order as it is meant, to the last field of its body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Client order id.
    pub id: Id,
    /// Market time at which it was meant.
    pub at: Timestamp,
    /// The pair.
    pub asset: Asset,
    /// Name of the venue.
    pub venue: String,
    /// What it is for. All but entries are reduce-only.
    pub role: Role,
    /// Side of the position that it opens or closes.
    pub side: Side,
    /// In units of the base.
    pub quantity: Decimal,
    /// How it is to be filled.
    pub instruction: Instruction,
}

impl Intent {
    /// Whether the order buys.
    pub fn buys(&self) -> bool {
        (self.role == Role::Entry) == (self.side == Side::Long)
    }
}

/// How an order is to be filled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Instruction {
    /// Takes what there is up to a price, at once, and drops the rest.
    #[serde(rename_all = "camelCase")]
    Take {
        /// The worst price.
        limit: f64,
        /// The venue does not take it after this.
        expires: Timestamp,
    },
    /// Takes what there is at any price.
    Market,
    /// Rests, and takes what there is once the price has come this far.
    Stop {
        /// The price.
        price: f64,
    },
}

impl Instruction {
    /// The price of a resting stop.
    pub const fn stop(&self) -> Option<f64> {
        match self {
            Self::Stop { price } => Some(*price),
            Self::Take { .. } | Self::Market => None,
        }
    }
}

/// What a venue says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VenueReport {
    /// Name of the venue.
    pub venue: String,
    /// What it says.
    pub report: Report,
}

/// What a report is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// One order.
    Order {
        /// Client order id.
        id: Id,
        /// What became of it.
        news: News,
    },
    /// The account.
    Account(Reading),
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum News {
    /// The venue has it.
    Accepted,
    /// A part of it, or all, was filled.
    Fill(VenueFill),
    /// The venue proves that it did not take it: a structured refusal, never a time-out.
    Rejected {
        /// In the venue's words.
        reason: String,
    },
    /// It never left: said by the agent of an entry that it kept back, never by a venue.
    Withheld {
        /// Why.
        reason: Cancellation,
    },
    /// It ended before it was filled whole.
    Cancelled {
        /// What had been filled until then.
        filled: Decimal,
    },
    /// The message was sent and what became of it is not known: a time-out, a disconnect, a garbled reply.
    Unknown,
    /// The venue has never seen it.
    Missing {
        /// When the question was put.
        asked: Timestamp,
    },
    /// Everything that the venue knows of it.
    Status {
        /// Whether it is over.
        standing: Standing,
        /// The quantity as the venue has it.
        quantity: Decimal,
        /// The price of a resting stop as the venue has it.
        stop: Option<f64>,
        /// What was filled so far.
        filled: Decimal,
        /// Its fills.
        fills: Vec<VenueFill>,
    },
}

/// Whether an order may still be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It may.
    Open,
    /// It will not be.
    Ended,
}

/// A fill as the venue reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VenueFill {
    /// The venue's id: the same fill always has the same.
    pub id: String,
    /// In units of the base.
    pub quantity: Decimal,
    /// Price paid or received.
    pub price: Decimal,
    /// Fee in the account's currency.
    pub fee: Decimal,
}

/// Positions and open orders as the venue has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// When the question was put.
    pub asked: Timestamp,
    /// Units of the base, negative where short; what is not named is flat.
    pub positions: BTreeMap<Asset, Decimal>,
    /// Client ids of the orders that may still be filled.
    pub open_orders: Vec<Id>,
}
