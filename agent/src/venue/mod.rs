//! Venues that answer by message, and the way of a command to them.
//!
//! A venue is behind a boundary that only messages cross: [`Venue::send`] hands one over and returns, and
//! what becomes of it comes back as reports, later, twice, out of order, or not at all. Everything that
//! depends on this, the engine knows ([`engine::orders`]). What leaves when is said by the [`Outbox`].

mod outbox;

use std::fmt::Debug;

use engine::orders::{Command, VenueReport};
use tokio::sync::mpsc;

pub use outbox::{Outbox, Released};

/// The sending side of a venue.
pub trait Venue: Debug + Send {
    /// Hands a command over and returns at once. A transport that does not know what became of an order
    /// reports [`News::Unknown`](engine::orders::News::Unknown), never a rejection; it repeats the
    /// question's time in the answers to `Resolve` and `Reconcile`.
    fn send(&mut self, command: &Command);
}

/// A venue, and what it says.
#[derive(Debug)]
pub struct Line {
    /// Its name in the configuration.
    pub name: String,
    /// Where commands go.
    pub venue: Box<dyn Venue>,
    /// Where reports come from.
    pub reports: mpsc::Receiver<VenueReport>,
}
