//! The debate: who argues, what they see and what they may want.

mod brief;
mod legal;
mod rules;

use crds::Timeframe;
use crds::config::ModelPreset;
use serde::{Deserialize, Serialize};

use crate::output::Side;

pub use brief::{Brief, MissingNumber, field};
pub use legal::legal_actions;
pub use rules::RulesPanel;

/// The bars at whose closes the panel is asked; also the timeframe of the ATR in plans.
pub const DECISION_TIMEFRAME: Timeframe = ModelPreset::Rules.decision_timeframe();

/// Decides what to do with an asset, from a brief alone.
pub trait Panel {
    /// Argues both sides and judges.
    fn deliberate(&self, brief: &Brief) -> Verdict;
}

/// What a seat, or the whole panel, wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Buy to open.
    OpenLong,
    /// Sell to open.
    OpenShort,
    /// Close the position.
    Close,
    /// Nothing.
    Hold,
}

impl Action {
    /// The side of the position that it opens.
    pub const fn opens(self) -> Option<Side> {
        match self {
            Self::OpenLong => Some(Side::Long),
            Self::OpenShort => Some(Side::Short),
            Self::Close | Self::Hold => None,
        }
    }

    /// The word for status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenLong => "openLong",
            Self::OpenShort => "openShort",
            Self::Close => "close",
            Self::Hold => "hold",
        }
    }
}

/// A chair at the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seat {
    /// Argues for rising prices.
    Bull,
    /// Argues for falling prices.
    Bear,
    /// Hears both and decides.
    Judge,
}

/// What a seat said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opinion {
    /// Who.
    pub seat: Seat,
    /// What it wants.
    pub action: Action,
    /// How sure it is, 0 to 100.
    pub confidence: u8,
    /// Why, in a sentence.
    pub thesis: String,
    /// The numbers of the brief that it rests on.
    pub evidence: Vec<Evidence>,
}

/// A number of the brief.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Its field.
    pub field: String,
    /// Its value.
    pub value: f64,
}

/// What the panel wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The judge's action.
    pub action: Action,
    /// The judge's confidence, 0 to 100.
    pub confidence: u8,
    /// Bull, bear, judge.
    pub opinions: Vec<Opinion>,
    /// The seat that could not argue, if any: then there is no trade, whatever the action says.
    pub empty_chair: Option<Seat>,
}
