//! Who may trade: the rules of the Lease, without any I/O.

use std::time::Duration;

use crds::contract::lease::{ENTRY_WINDOW, TAKEOVER_AFTER};

use crate::clock::BootTime;

/// After standing still for longer than this, the Lease is read anew before anything opens.
pub const LONGEST_STALL: Duration = Duration::from_secs(2);

/// What a candidate reads in the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `metadata.resourceVersion`: changes with every write.
    pub version: String,
    /// `spec.holderIdentity`; empty means nobody.
    pub holder: Option<String>,
}

/// What a candidate does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Writes itself in, or renews.
    Take,
    /// Someone else holds it; it may be taken after so long, if nothing moves.
    Wait(Duration),
}

/// One who wants to hold the Lease.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    seen: Option<(Record, BootTime)>,
}

impl Candidate {
    /// A candidate of that identity: the pod's UID, so that a restarted container retakes at once.
    pub const fn new(identity: String) -> Self {
        Self { identity, seen: None }
    }

    /// Its identity.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Judges what the Lease says at `now`. A stranger's record must stand still for the whole takeover
    /// time on this clock, whatever times it states.
    pub fn judge(&mut self, record: &Record, now: BootTime) -> Move {
        let holder = record.holder.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            self.seen = None;
            return Move::Take;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == record => *since,
            _ => {
                self.seen = Some((record.clone(), now));
                now
            }
        };
        match TAKEOVER_AFTER.checked_sub(now.since(since)) {
            None | Some(Duration::ZERO) => Move::Take,
            Some(rest) => Move::Wait(rest),
        }
    }
}

/// Until when a holder may open positions.
#[derive(Debug, Default)]
pub struct Window {
    asked: Option<BootTime>,
    stalled: Option<BootTime>,
}

impl Window {
    /// Whether an entry may leave at `now`, given when the last successful renewal was sent. Must be
    /// asked at least once a second: a longer silence is a stall, after which only a later renewal counts.
    pub fn is_open(&mut self, renewal_sent: Option<BootTime>, now: BootTime) -> bool {
        if self.asked.is_some_and(|asked| now.since(asked) > LONGEST_STALL) {
            self.stalled = Some(now);
        }
        self.asked = Some(now);
        renewal_sent.is_some_and(|sent| {
            now.since(sent) < ENTRY_WINDOW && self.stalled.is_none_or(|stalled| sent >= stalled)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::contract::lease::{DURATION, RENEW_EVERY, RENEW_TIMEOUT};

    fn at(seconds: f64) -> BootTime {
        BootTime::from_start(Duration::from_secs_f64(seconds))
    }

    fn record(version: u32, holder: &str) -> Record {
        Record { version: version.to_string(), holder: (!holder.is_empty()).then(|| holder.to_owned()) }
    }

    #[test]
    fn an_empty_lease_and_ones_own_are_taken_at_once() {
        let mut me = Candidate::new("me".into());
        assert_eq!(me.judge(&record(1, ""), at(0.0)), Move::Take);
        assert_eq!(
            me.judge(&Record { version: "1".into(), holder: Some(String::new()) }, at(0.0)),
            Move::Take
        );
        assert_eq!(me.judge(&record(2, "me"), at(1.0)), Move::Take);
    }

    #[test]
    fn a_strangers_lease_is_taken_only_after_it_stood_still_for_the_whole_time() {
        let mut me = Candidate::new("me".into());
        assert_eq!(me.judge(&record(1, "other"), at(0.0)), Move::Wait(TAKEOVER_AFTER));
        assert_eq!(me.judge(&record(1, "other"), at(44.0)), Move::Wait(Duration::from_secs(1)));
        assert_eq!(me.judge(&record(2, "other"), at(44.5)), Move::Wait(TAKEOVER_AFTER), "it moved");
        assert_eq!(me.judge(&record(2, "third"), at(80.0)), Move::Wait(TAKEOVER_AFTER), "another holder");
        assert_eq!(me.judge(&record(2, "third"), at(124.9)), Move::Wait(Duration::from_millis(100)));
        assert_eq!(me.judge(&record(2, "third"), at(125.0)), Move::Take);
    }

    #[test]
    fn stillness_is_not_remembered_across_ones_own_term() {
        let mut me = Candidate::new("me".into());
        me.judge(&record(1, "other"), at(0.0));
        me.judge(&record(2, "me"), at(10.0));
        assert_eq!(me.judge(&record(1, "other"), at(50.0)), Move::Wait(TAKEOVER_AFTER));
    }

    fn asked_every_second(window: &mut Window, sent: Option<BootTime>, from: u32, to: u32) -> Vec<bool> {
        (from..=to).map(|second| window.is_open(sent, at(f64::from(second)))).collect()
    }

    #[test]
    fn entries_end_twenty_seconds_after_the_sending_of_the_last_renewal() {
        let mut window = Window::default();
        assert!(!window.is_open(None, at(0.0)));
        let open = asked_every_second(&mut window, Some(at(0.0)), 1, 25);
        assert!(open[..19].iter().all(|open| *open) && open[19..].iter().all(|open| !*open), "{open:?}");
    }

    #[test]
    fn after_a_stall_only_a_later_renewal_counts() {
        let mut window = Window::default();
        assert!(window.is_open(Some(at(10.0)), at(10.5)));
        assert!(!window.is_open(Some(at(10.0)), at(13.0)), "stalled for 2.5 s");
        assert!(!window.is_open(Some(at(10.0)), at(14.0)), "still the old renewal");
        assert!(window.is_open(Some(at(14.2)), at(14.5)));
    }

    /// The old holder's last entry leaves before the earliest moment at which a stranger takes over,
    /// whatever the answers' delays, with both clocks running at the same rate.
    #[test]
    fn windows_of_two_holders_never_overlap() {
        // The stranger first sees the last renewal when it is written, which is after it was sent.
        assert!(ENTRY_WINDOW < TAKEOVER_AFTER);
        // An entry lives at most ten seconds at a venue.
        assert!(ENTRY_WINDOW + Duration::from_secs(10) < TAKEOVER_AFTER);
        // A single failed renewal and its retry do not close the window.
        assert!(RENEW_EVERY + RENEW_TIMEOUT < ENTRY_WINDOW);
        assert!(DURATION < TAKEOVER_AFTER);
    }
}
