//! What a bot does about it: the records that the journal keeps.

use std::collections::BTreeMap;

use crds::{Asset, Timeframe};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::orders::Command;
use crate::panel::{Action, Opinion};
use crate::risk::{Hearing, Plan, Rejection};
use crate::states::LoopState;

/// A record of what the engine did, in the order in which it did it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Output {
    /// An event that cannot be used; nothing changed.
    Refused(Refused),
    /// The loop moved.
    Transition(Transition),
    /// The loop was asked for a move that its table forbids and stayed where it was: a bug.
    IllegalTransition(Transition),
    /// Bars that the feed did not deliver.
    Gap(Gap),
    /// The panel's verdict and what became of it.
    Decision(Box<Decision>),
    /// What the agent shall do at a venue that answers by message.
    Command(Command),
    /// Ledger and venue differ, and nothing that is on its way explains it.
    Discrepancy(Discrepancy),
    /// An order changed its status.
    Order(Order),
    /// An order was filled.
    Fill(Fill),
    /// A protective stop came closer.
    StopMoved(StopMoved),
    /// A position went flat.
    TradeClosed(Trade),
    /// A configuration was taken over.
    #[serde(rename_all = "camelCase")]
    Configured {
        /// Market time, when there is one.
        at: Option<Timestamp>,
    },
}

/// Why an event was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The event's time.
    pub at: Timestamp,
    /// The asset, where the event has one.
    pub asset: Option<Asset>,
    /// A stable word.
    pub reason: Refusal,
    /// The value at fault and the remedy, for a person.
    pub message: String,
}

/// The reasons for which an event is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// Older than what has been handled.
    TimeRunsBackwards,
    /// Before 1970 or too far in the future to count from.
    BadTime,
    /// Not in the configuration.
    UnknownAsset,
    /// Not finite, not positive, beyond what is plausible, or inconsistent with the other prices.
    BadPrice,
    /// Negative or not finite.
    BadVolume,
    /// Another length than the bars before, or too long for the panel.
    BadTimeframe,
    /// The end of the bar is not a multiple of its length.
    NotAligned,
    /// The configuration cannot replace the present one.
    BadConfiguration,
    /// A report of a venue that is not there or does not answer by message.
    UnknownVenue,
    /// A report on an order that is none of this bot's, or too old to be remembered.
    UnknownOrder,
    /// A fill of nothing, at no price, or of more than there can be.
    BadFill,
    /// A quantity that is negative or more than there can be.
    BadQuantity,
}

/// Ledger and venue differ: nothing opens on the asset until they agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discrepancy {
    /// Market time.
    pub at: Timestamp,
    /// The pair.
    pub asset: Asset,
    /// Name of the venue.
    pub venue: String,
    /// What differs.
    pub kind: DiscrepancyKind,
    /// The order that it is about, where it is about one.
    #[serde(default)]
    pub order: Option<Id>,
    /// Units by the ledger, negative where short.
    pub ledger: Decimal,
    /// Units by the venue, where it said.
    pub at_venue: Option<Decimal>,
}

/// What differs between ledger and venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DiscrepancyKind {
    /// The position.
    Position,
    /// A fill that does not fit what is held.
    Fill,
    /// An order is at work at the venue that is none of this bot's, or too old to be remembered.
    Order,
}

/// A move of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// Market time.
    pub at: Timestamp,
    /// Where it was.
    pub from: LoopState,
    /// Where it went, or was asked to go.
    pub to: LoopState,
}

/// Bars that are missing. They count as flat at the last close with volume 0 and are synthetic:
/// indicators skip them, and nothing is filled at them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The pair.
    pub asset: Asset,
    /// The length of the missing bars.
    pub timeframe: Timeframe,
    /// End of the last bar before the gap.
    pub from: Timestamp,
    /// Open of the first bar after it.
    pub to: Timestamp,
    /// How many are missing.
    pub bars: u64,
    /// The price at which they are flat.
    pub close: f64,
}

/// A verdict of the panel on one asset, and the gatekeeper's answer, with everything that they saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// A pure function of bot, asset and market time.
    pub id: Id,
    /// Market time.
    pub at: Timestamp,
    /// The pair.
    pub asset: Asset,
    /// The verdict.
    pub action: Action,
    /// The judge's confidence, 0 to 100.
    pub confidence: u8,
    /// What each seat said.
    pub opinions: Vec<Opinion>,
    /// What became of the verdict.
    pub outcome: Outcome,
    /// Why not, when it was rejected.
    pub rejection: Option<Rejection>,
    /// Size and stop, when a position is to be opened.
    pub plan: Option<Plan>,
    /// Side of the open position that the panel saw.
    #[serde(default)]
    pub position: Option<Side>,
    /// Every number of the brief that the panel saw, by field.
    pub brief: BTreeMap<String, f64>,
    /// What the gatekeeper was asked and what each of its checks said; none when it was not asked.
    #[serde(default)]
    pub gate: Option<Hearing>,
}

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// An order follows.
    Approved,
    /// The gatekeeper said no; see the rejection.
    Rejected,
    /// The panel wants nothing.
    Hold,
    /// A seat was empty or a number missing: no trade.
    Abstained,
}

/// Which way a position profits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// From rising prices.
    Long,
    /// From falling prices.
    Short,
}

impl Side {
    /// 1 for long, -1 for short.
    pub const fn sign(self) -> f64 {
        match self {
            Self::Long => 1.0,
            Self::Short => -1.0,
        }
    }
}

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Opens a position.
    Entry,
    /// The resting stop or target of a position.
    Protect,
    /// Closes a position at the market.
    Exit,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Client order id: a pure function of what caused the order.
    pub id: Id,
    /// Market time of this status.
    pub at: Timestamp,
    /// Market time of the decision; only later prices fill the order.
    pub decided_at: Timestamp,
    /// The pair.
    pub asset: Asset,
    /// Name of the venue.
    pub venue: String,
    /// What it is for.
    pub role: Role,
    /// Side of the position that it opens or closes.
    pub side: Side,
    /// In units of the base.
    pub quantity: Decimal,
    /// Where it stands.
    pub status: OrderStatus,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OrderStatus {
    /// Waits for a price.
    Open,
    /// Done.
    Filled,
    /// Refused by the venue.
    #[serde(rename_all = "camelCase")]
    Rejected {
        /// Why.
        reason: OrderRejection,
    },
    /// Withdrawn before it was filled.
    #[serde(rename_all = "camelCase")]
    Cancelled {
        /// Why.
        reason: Cancellation,
    },
}

/// Why a venue refuses an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OrderRejection {
    /// The price moved and the cash does not suffice any more.
    InsufficientFunds,
    /// The price went beyond the protective stop before the entry could be filled.
    BeyondStop,
    /// A number left the range of decimals.
    OutOfRange,
    /// The venue proves that it did not take it.
    ByVenue,
    /// The venue has never seen it and will not take it any more.
    NeverArrived,
}

/// Why an order was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cancellation {
    /// The bot was paused.
    Paused,
    /// The lease was lost.
    LeaseNotHeld,
    /// No price came, or the journal took nothing, for so long that the decision no longer rests on fresh data.
    StaleDecision,
    /// The position was closed by other means.
    PositionClosed,
    /// The venue ended it: because it was asked to, or by its own rules.
    AtVenue,
}

/// An order's fill. Paper orders that are filled within the call fill whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fill {
    /// The order.
    pub order: Id,
    /// Market time: a bar's open for a fill at the open, its end for a fill within it.
    pub at: Timestamp,
    /// The pair.
    pub asset: Asset,
    /// Name of the venue.
    pub venue: String,
    /// What the order is for.
    pub role: Role,
    /// Side of the position.
    pub side: Side,
    /// In units of the base.
    pub quantity: Decimal,
    /// Price before costs.
    pub base_price: Decimal,
    /// Price paid or received, spread and slippage included.
    pub price: Decimal,
    /// Fee in the account's currency, unrounded.
    pub fee: Decimal,
}

/// A stop came closer to the price; it never moves away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopMoved {
    /// Market time; the new stop holds from the next price on.
    pub at: Timestamp,
    /// The pair.
    pub asset: Asset,
    /// The position.
    pub trade: Id,
    /// Where it was.
    pub from: f64,
    /// Where it is.
    pub to: f64,
    /// What moved it.
    pub by: ExitReason,
}

/// A round trip, flat to flat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trade {
    /// The id of the entry order.
    pub id: Id,
    /// The pair.
    pub asset: Asset,
    /// Which way.
    pub side: Side,
    /// In units of the base.
    pub quantity: Decimal,
    /// Price paid, spread and slippage included.
    pub entry_price: Decimal,
    /// Price received, spread and slippage included.
    pub exit_price: Decimal,
    /// Market time of the entry fill.
    pub opened_at: Timestamp,
    /// Market time of the exit fill.
    pub closed_at: Timestamp,
    /// Profit at the prices before costs.
    pub gross: Decimal,
    /// Spread, slippage and fees: gross − net.
    pub costs: Decimal,
    /// The fees among the costs.
    pub fees: Decimal,
    /// What the account gained.
    pub net: Decimal,
    /// Net in multiples of the initial risk: the distance from fill to first stop, times quantity.
    pub r_multiple: f64,
    /// What ended it.
    pub exit_reason: ExitReason,
}

/// What ends a trade or moves its stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitReason {
    /// The stop where the plan put it.
    Stop,
    /// The stop at break-even.
    BreakEven,
    /// The trailing stop.
    Trail,
    /// The target.
    Target,
    /// The panel's verdict.
    Panel,
}

impl ExitReason {
    /// Whether a protective stop ended the trade; a cool-down follows.
    pub const fn is_stop(self) -> bool {
        matches!(self, Self::Stop | Self::BreakEven | Self::Trail)
    }
}
