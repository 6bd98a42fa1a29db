//! Venues that answer by message, and the way of a command to them.
//!
//! A venue is behind a boundary that only messages cross: [`Venue::send`] hands one over and returns, and
//! what becomes of it comes back as reports, later, twice, out of order, or not at all. Everything that
//! depends on this, the engine knows ([`engine::orders`]). What leaves when is said by the [`Outbox`].

mod outbox;

use std::collections::BTreeMap;
use std::fmt::Debug;

use engine::orders::{Command, VenueReport};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use outbox::{Outbox, Released};

/// The sending side of a venue.
pub trait Venue: Debug + Send {
    /// Hands a command over and returns at once. A transport that does not know what became of an order
    /// reports [`News::Unknown`](engine::orders::News::Unknown), never a rejection; a venue that refuses an id
    /// because it has it already says so as `Unknown` or `Status`, too. It repeats the question's time in the
    /// answers to `Resolve` and `Reconcile`.
    fn send(&mut self, command: &Command);
}

/// The venues of a bot that answer by message.
pub struct Venues {
    /// Where commands go, by the venue's name in the configuration.
    pub senders: BTreeMap<String, Box<dyn Venue>>,
    /// What all of them say.
    pub reports: mpsc::Receiver<VenueReport>,
    /// Market time now: live, the wall clock in step with the venues.
    clock: Box<dyn Fn() -> Timestamp + Send>,
    /// What was last read from it, and when.
    last: Option<(Timestamp, Instant)>,
}

impl Venues {
    /// Venues with a line to each, by their names in the configuration, and what all of them say. `clock` is
    /// market time: live, the wall clock in step with the venues.
    pub fn new(
        senders: BTreeMap<String, Box<dyn Venue>>,
        reports: mpsc::Receiver<VenueReport>,
        clock: Box<dyn Fn() -> Timestamp + Send>,
    ) -> Self {
        Self { senders, reports, clock, last: None }
    }

    /// Time does not go back behind what has been handled.
    pub fn go_on_from(&mut self, handled: Option<Timestamp>) {
        self.last = handled.map(|at| (at, Instant::now()));
    }

    /// Market time now. It never goes back: where the clock was set back it goes on at half the pace until the
    /// clock has caught up, so that whatever waits for time waits longer, and not for ever.
    pub fn now(&mut self) -> Timestamp {
        self.read(Instant::now())
    }

    fn read(&mut self, read: Instant) -> Timestamp {
        let clock = (self.clock)();
        let now = match self.last {
            Some((last, since)) if clock < last => {
                let half = SignedDuration::try_from(read.duration_since(since) / 2).unwrap_or_default();
                last.checked_add(half).unwrap_or(last)
            }
            _ => clock,
        };
        self.last = Some((now, read));
        now
    }
}

impl Debug for Venues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Venues").field("senders", &self.senders).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_slows_time_down_until_it_has_caught_up() {
        let at = |seconds: i64| Timestamp::from_second(1_600_000_000 + seconds).unwrap();
        let wall = Arc::new(Mutex::new(at(100)));
        let (_sender, reports) = mpsc::channel(1);
        let clock = wall.clone();
        let mut venues = Venues::new(BTreeMap::new(), reports, Box::new(move || *clock.lock().unwrap()));
        let start = Instant::now();
        let read = |venues: &mut Venues, wall_at: i64, after: u64| {
            *wall.lock().unwrap() = at(wall_at);
            venues.read(start + Duration::from_secs(after))
        };
        assert_eq!(read(&mut venues, 100, 0), at(100));
        assert_eq!(read(&mut venues, 90, 0), at(100));
        assert_eq!(read(&mut venues, 95, 10), at(105));
        assert_eq!(read(&mut venues, 110, 20), at(110));
        assert_eq!(read(&mut venues, 111, 21), at(111));
        venues.go_on_from(Some(at(200)));
        assert!(venues.now() >= at(200), "a process that comes after a clock was set back");
    }
}
