//! A *no*, with its reason.

use serde::{Deserialize, Serialize};

/// Why a verdict was rejected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The number of the check; 0 is the stage before and between the checks: legal actions, stop, size.
    pub check: u8,
    /// A stable word.
    pub reason: Reason,
    /// What was measured; absent when it could not be, which is reason enough.
    pub measured: Option<f64>,
    /// What would have passed.
    pub limit: Option<f64>,
}

impl Rejection {
    pub(crate) fn new(check: u8, reason: Reason) -> Self {
        Self { check, reason, measured: None, limit: None }
    }
}

/// The reasons for a rejection: the same word in journal, status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The venue or the position does not allow the action.
    IllegalAction,
    /// The bot is paused.
    Paused,
    /// This process does not hold the lease.
    LeaseNotHeld,
    /// An order on the asset has not ended yet.
    UnresolvedOrder,
    /// A bar or quote is too old, or there is none.
    StaleData,
    /// Below the confidence floor.
    Confidence,
    /// Enough entries today.
    EntriesToday,
    /// Enough open positions.
    OpenPositions,
    /// There is a position in this direction.
    Duplicate,
    /// Too soon after a stop-out or a venue's rejection.
    Cooldown,
    /// A number that the stop needs is missing or makes no sense.
    NoStop,
    /// A number that the size needs is missing or makes no sense.
    NoSize,
    /// Too little room under the asset's share of equity.
    Concentration,
    /// Too little room under the gross leverage.
    Leverage,
    /// Too little cash at the venue.
    BuyingPower,
    /// Smaller than the venue takes.
    BelowMinimum,
    /// There is nothing to close.
    NoPosition,
}

impl Reason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IllegalAction => "illegalAction",
            Self::Paused => "paused",
            Self::LeaseNotHeld => "leaseNotHeld",
            Self::UnresolvedOrder => "unresolvedOrder",
            Self::StaleData => "staleData",
            Self::Confidence => "confidence",
            Self::EntriesToday => "entriesToday",
            Self::OpenPositions => "openPositions",
            Self::Duplicate => "duplicate",
            Self::Cooldown => "cooldown",
            Self::NoStop => "noStop",
            Self::NoSize => "noSize",
            Self::Concentration => "concentration",
            Self::Leverage => "leverage",
            Self::BuyingPower => "buyingPower",
            Self::BelowMinimum => "belowMinimum",
            Self::NoPosition => "noPosition",
        }
    }
}
