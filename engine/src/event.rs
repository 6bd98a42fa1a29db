//! What happens to a bot.

use crds::config::BotConfig;
use crds::{Asset, Timeframe};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::market::Bar;
use crate::orders::VenueReport;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Market time: of a bar its *end*, of a quote the venue's stamp, of a report its arrival. `Lease`
    /// and `Configuration` take effect in the order of their arrival and do not move the market's time,
    /// whatever theirs is; a report or takeover that comes late counts as of the market's time, and so does
    /// everything live, where orders are messages.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of event.
///
/// Events come in the order of their time; at equal times configuration and lease first, then reports of venues, then
/// bars in the configuration's asset order, then quotes, then the timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// A final bar of the past: fills the indicators; nothing trades and no cycle runs.
    #[serde(rename_all = "camelCase")]
    History {
        /// The pair.
        asset: Asset,
        /// The bar's length; the same for all bars of an asset.
        timeframe: Timeframe,
        /// The prices.
        bar: Bar,
    },
    /// A final bar.
    #[serde(rename_all = "camelCase")]
    Bar {
        /// The pair.
        asset: Asset,
        /// The bar's length; the same for all bars of an asset.
        timeframe: Timeframe,
        /// The prices.
        bar: Bar,
    },
    /// The touch, conflated: the last bid and ask, and the extremes since the quote before.
    #[serde(rename_all = "camelCase")]
    Quote {
        /// The pair.
        asset: Asset,
        /// Last bid.
        bid: f64,
        /// Last ask.
        ask: f64,
        /// Lowest bid of the window.
        low_bid: f64,
        /// Highest ask of the window.
        high_ask: f64,
    },
    /// The configuration from now on.
    Configuration(BotConfig),
    /// Whether this process may open positions. A new or restored engine does not hold the lease.
    #[serde(rename_all = "camelCase")]
    Lease {
        /// Held or not.
        held: bool,
    },
    /// A new process has taken over from one that may have died at any point: whatever was on its way to or
    /// from a venue that answers by message is not known any more.
    Takeover,
    /// What a venue that answers by message says.
    Venue(VenueReport),
    /// Market time went on, and every other event of this instant has been given. A cycle that is due
    /// runs now; without a timer it runs when the first event of a later time arrives, as of the
    /// instant that it closes. Live: at least one a second. Replay: after the last bar of each time.
    Timer,
}
