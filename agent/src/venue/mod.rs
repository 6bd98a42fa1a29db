//! Venues that answer by message, and the way of a command to them.
//!
//! A venue is behind a boundary that only messages cross: [`Venue::send`] hands one over and returns, and
//! what becomes of it comes back as reports, later, twice, out of order, or not at all. Everything that
//! depends on this, the engine knows ([`engine::orders`]). What leaves when is said by the [`Outbox`].

mod outbox;

use std::collections::BTreeMap;
use std::fmt::Debug;

use engine::orders::{Command, VenueReport};
use jiff::Timestamp;
use tokio::sync::mpsc;

pub use outbox::{Outbox, Released};

/// The sending side of a venue.
pub trait Venue: Debug + Send {
    /// Hands a command over and returns at once. A transport that does not know what became of an order
    /// reports [`News::Unknown`](engine::orders::News::Unknown), never a rejection; it repeats the
    /// question's time in the answers to `Resolve` and `Reconcile`.
    fn send(&mut self, command: &Command);
}

/// The venues of a bot that answer by message.
pub struct Venues {
    /// Where commands go, by the venue's name in the configuration.
    pub senders: BTreeMap<String, Box<dyn Venue>>,
    /// What all of them say.
    pub reports: mpsc::Receiver<VenueReport>,
    /// Market time now: live, the wall clock in step with the venues.
    pub clock: Box<dyn Fn() -> Timestamp + Send>,
}

impl Debug for Venues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Venues").field("senders", &self.senders).finish_non_exhaustive()
    }
}
