//! Reconciliation: positions and open orders of the venue against ledger and desk.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::message::{Command, Reading};
use crate::engine::Engine;
use crate::id::Id;
use crate::output::{Discrepancy, DiscrepancyKind, Output, Side};
use crate::panel::Panel;
use crate::risk::Gate;

/// How often accounts are read when nothing calls for it.
const READ_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// How often where something waits for it.
const READ_SOON: SignedDuration = SignedDuration::from_secs(2);
/// A difference that lasts so long, with every order known, is none of timing.
const DISPUTE_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// What is remembered of a venue that answers by message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remote {
    /// When its account was last asked for.
    pub asked: Option<Timestamp>,
}

impl<P: Panel, G: Gate> Engine<P, G> {
    /// Asks for accounts that have to be read now.
    pub(crate) fn ask_for_readings(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        for (venue, remote) in &mut self.state.remote {
            let mut assets = self.state.config.assets.iter().zip(&self.state.assets);
            let waits = assets.any(|(config, state)| {
                let desk = &state.desk;
                config.venue == *venue
                    && (desk.unread.is_some() || desk.doubted.is_some())
                    && desk.is_settled()
            });
            let every = if waits { READ_SOON } else { READ_EVERY };
            if remote.asked.is_none_or(|asked| now.duration_since(asked) >= every) {
                remote.asked = Some(now);
                out.push(Output::Command(Command::Reconcile { venue: venue.clone(), asked: now }));
            }
        }
    }

    /// Compares what the venue says with what is known here.
    pub(crate) fn compare(&mut self, venue: &str, reading: &Reading, now: Timestamp, out: &mut Vec<Output>) {
        let known = |id: &Id| self.state.assets.iter().any(|state| state.desk.knows(id));
        let stray = reading.open_orders.iter().find(|id| !known(id)).cloned();
        for (config, state) in self.state.config.assets.iter().zip(&mut self.state.assets) {
            let desk = &mut state.desk;
            // An answer from before the last change says nothing about what is known after it.
            let stale = desk.changed.is_some_and(|changed| reading.asked < changed);
            if config.venue != venue || stale || !desk.is_settled() {
                continue;
            }
            let ours = match self.state.ledger.holding(&state.asset) {
                None => Decimal::ZERO,
                Some(holding) if holding.side == Side::Short => -holding.quantity,
                Some(holding) => holding.quantity,
            };
            let theirs = reading.positions.get(&state.asset).copied().unwrap_or_default();
            let discrepancy = |kind, order| {
                Output::Discrepancy(Discrepancy {
                    at: now,
                    asset: state.asset.clone(),
                    venue: venue.to_owned(),
                    kind,
                    order,
                    ledger: ours.normalize(),
                    at_venue: Some(theirs.normalize()),
                })
            };
            if ours == theirs {
                desk.unread = None;
                desk.doubted = None;
                desk.doubt_open_orders(&reading.open_orders, false);
                // An order that nobody here knows may be somebody's who trades by hand: it is left alone.
                if let (Some(id), false) = (&stray, desk.disputed) {
                    out.push(discrepancy(DiscrepancyKind::Order, Some(id.clone())));
                }
                desk.disputed = stray.is_some();
                continue;
            }
            match desk.doubted {
                // A fill of a stop may have been missed.
                None => {
                    desk.doubted = Some(now);
                    desk.doubt_open_orders(&reading.open_orders, true);
                }
                Some(since) if now.duration_since(since) >= DISPUTE_AFTER && !desk.disputed => {
                    desk.disputed = true;
                    // What is ours is still protected and closed by what the ledger says.
                    desk.unread = None;
                    out.push(discrepancy(DiscrepancyKind::Position, None));
                }
                Some(_) => {}
            }
        }
    }
}
