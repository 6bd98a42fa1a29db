//! Who may trade: the rules of the Lease, without any I/O. What its holder may send is in [`super::fence`].

use std::time::Duration;

use crds::contract::lease::{ENTRY_WINDOW, RENEW_EVERY, RENEW_TIMEOUT, TAKEOVER_AFTER};

use crate::clock::BootTime;

/// After standing still for longer than this, the Lease is read anew before anything opens.
pub const LONGEST_STALL: Duration = Duration::from_secs(2);
/// The venue refuses an order that reaches it longer after its check than this.
pub const ORDER_LIFETIME: Duration = Duration::from_secs(10);
/// What may lie between two clocks over one term, and between two moments that are thought of as one.
pub const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// Who follows one that did not release the Lease leaves the venue alone for so long.
pub const SETTLE_AFTER: Duration = ORDER_LIFETIME.saturating_add(CLOCK_MARGIN).saturating_add(CLOCK_MARGIN);

/// The times by which the Lease fences. The default is what the code runs with; the model in
/// `tests/lease_model` tries others, and finds what goes wrong then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Time between renewals.
    pub renew_every: Duration,
    /// Longest wait for the answer to one.
    pub renew_timeout: Duration,
    /// Entries may leave for so long after the sending of the last successful renewal.
    pub entry_window: Duration,
    /// Exits may leave for so long after it, whatever has become of the Lease: a stranger takes over no earlier.
    pub exit_window: Duration,
    /// A stranger takes over when the record stood still for so long.
    pub takeover_after: Duration,
    /// After standing still for longer than this only a later renewal counts.
    pub longest_stall: Duration,
    /// An order is void when it reaches the venue longer after its check than this.
    pub order_lifetime: Duration,
    /// Who follows one that did not say farewell leaves the venue alone for so long: an order of the other may
    /// be on its way.
    pub settle_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            renew_every: RENEW_EVERY,
            renew_timeout: RENEW_TIMEOUT,
            entry_window: ENTRY_WINDOW,
            exit_window: TAKEOVER_AFTER,
            takeover_after: TAKEOVER_AFTER,
            longest_stall: LONGEST_STALL,
            order_lifetime: ORDER_LIFETIME,
            settle_after: SETTLE_AFTER,
        }
    }
}

/// What a candidate reads in the Lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    Take(Predecessor),
    /// Someone else holds it; it may be taken after so long, if nothing moves.
    Wait(Duration),
    /// This process held it, and it is another's now or nobody's: whatever this process knows may be old, even
    /// if it could have the Lease again.
    Lost,
}

/// Who held the Lease before the one that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Predecessor {
    /// Nobody, or one who released it, which a holder does only while none of its orders is on its way.
    Nobody,
    /// The same pod: this process, or one before it that may have sent an order as it died.
    Own,
    /// A stranger who lets it stand still.
    Stranger,
}

/// One who wants to hold the Lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    identity: String,
    takeover_after: Duration,
    seen: Option<(Record, BootTime)>,
}

impl Candidate {
    /// A candidate of that identity: the pod's UID, so that a restarted container retakes at once.
    pub const fn new(identity: String, timing: &Timing) -> Self {
        Self { identity, takeover_after: timing.takeover_after, seen: None }
    }

    /// Its identity.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Judges what the Lease says at `now`, given whether this process has held it. A stranger's record must
    /// stand still for the whole takeover time on this clock, whatever times it states.
    pub fn judge(&mut self, record: &Record, held: bool, now: BootTime) -> Move {
        let holder = record.holder.as_deref().unwrap_or_default();
        if held && holder != self.identity {
            return Move::Lost;
        }
        if holder.is_empty() || holder == self.identity {
            self.seen = None;
            return Move::Take(if holder.is_empty() { Predecessor::Nobody } else { Predecessor::Own });
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == record => *since,
            _ => {
                self.seen = Some((record.clone(), now));
                now
            }
        };
        match self.takeover_after.checked_sub(now.since(since)) {
            None | Some(Duration::ZERO) => Move::Take(Predecessor::Stranger),
            Some(rest) => Move::Wait(rest),
        }
    }
}

/// Why no entry may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The Lease is not held.
    NotHeld,
    /// The process stood still, and the Lease was not renewed since.
    Stalled,
    /// The last renewal was sent so long ago.
    Old(Duration),
}

/// Until when a holder may open positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    timing: Timing,
    asked: Option<BootTime>,
    stalled: Option<BootTime>,
}

impl Window {
    /// A window of other times than the code's.
    pub const fn new(timing: Timing) -> Self {
        Self { timing, asked: None, stalled: None }
    }

    /// The times it goes by.
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Says that the process lives. A silence of more than [`Timing::longest_stall`] is a stall, so that this
    /// must be called once a second, unless the window is looked at as often.
    pub fn beat(&mut self, now: BootTime) {
        if self.asked.is_some_and(|asked| now.since(asked) > self.timing.longest_stall) {
            self.stalled = Some(now);
        }
        self.asked = Some(now);
    }

    /// Whether an entry may leave at `now`, given when the last successful renewal was sent; after a stall only
    /// a later renewal counts.
    ///
    /// # Errors
    /// Why it may not.
    pub fn look(&mut self, renewal_sent: Option<BootTime>, now: BootTime) -> Result<(), Shut> {
        self.beat(now);
        let sent = renewal_sent.ok_or(Shut::NotHeld)?;
        let age = now.since(sent);
        if age >= self.timing.entry_window {
            return Err(Shut::Old(age));
        }
        if self.stalled.is_some_and(|stalled| sent < stalled) {
            return Err(Shut::Stalled);
        }
        self.stalled = None;
        Ok(())
    }

    /// Whether [`Window::look`] finds it open.
    pub fn is_open(&mut self, renewal_sent: Option<BootTime>, now: BootTime) -> bool {
        self.look(renewal_sent, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::contract::lease::DURATION;

    fn at(seconds: f64) -> BootTime {
        BootTime::from_start(Duration::from_secs_f64(seconds))
    }

    fn record(version: u32, holder: &str) -> Record {
        Record { version: version.to_string(), holder: (!holder.is_empty()).then(|| holder.to_owned()) }
    }

    #[test]
    fn an_empty_lease_and_ones_own_are_taken_at_once() {
        let mut me = Candidate::new("me".into(), &Timing::default());
        assert_eq!(me.judge(&record(1, ""), false, at(0.0)), Move::Take(Predecessor::Nobody));
        assert_eq!(
            me.judge(&Record { version: "1".into(), holder: Some(String::new()) }, false, at(0.0)),
            Move::Take(Predecessor::Nobody)
        );
        assert_eq!(me.judge(&record(2, "me"), false, at(1.0)), Move::Take(Predecessor::Own));
    }

    #[test]
    fn a_strangers_lease_is_taken_only_after_it_stood_still_for_the_whole_time() {
        let mut me = Candidate::new("me".into(), &Timing::default());
        assert_eq!(me.judge(&record(1, "other"), false, at(0.0)), Move::Wait(TAKEOVER_AFTER));
        assert_eq!(me.judge(&record(1, "other"), false, at(44.0)), Move::Wait(Duration::from_secs(1)));
        assert_eq!(me.judge(&record(2, "other"), false, at(44.5)), Move::Wait(TAKEOVER_AFTER), "it moved");
        assert_eq!(
            me.judge(&record(2, "third"), false, at(80.0)),
            Move::Wait(TAKEOVER_AFTER),
            "another holder"
        );
        assert_eq!(me.judge(&record(2, "third"), false, at(124.9)), Move::Wait(Duration::from_millis(100)));
        assert_eq!(me.judge(&record(2, "third"), false, at(125.0)), Move::Take(Predecessor::Stranger));
    }

    #[test]
    fn stillness_is_not_remembered_across_ones_own_term() {
        let mut me = Candidate::new("me".into(), &Timing::default());
        me.judge(&record(1, "other"), false, at(0.0));
        me.judge(&record(2, "me"), false, at(10.0));
        assert_eq!(me.judge(&record(1, "other"), false, at(50.0)), Move::Wait(TAKEOVER_AFTER));
    }

    #[test]
    fn what_was_held_and_is_not_any_more_is_lost_even_if_nobody_has_it() {
        let mut me = Candidate::new("me".into(), &Timing::default());
        assert_eq!(me.judge(&record(1, "me"), true, at(0.0)), Move::Take(Predecessor::Own));
        for holder in ["other", "unknown", ""] {
            assert_eq!(me.judge(&record(2, holder), true, at(100.0)), Move::Lost, "{holder}");
        }
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

    #[test]
    fn a_shut_window_says_why() {
        let mut window = Window::default();
        assert_eq!(window.look(None, at(1.0)), Err(Shut::NotHeld));
        assert_eq!(window.look(Some(at(1.0)), at(2.0)), Ok(()));
        assert_eq!(window.look(Some(at(1.0)), at(5.0)), Err(Shut::Stalled));
        assert_eq!(window.look(Some(at(1.0)), at(21.0)), Err(Shut::Old(Duration::from_secs(20))));
    }

    #[test]
    fn a_beat_is_as_good_as_a_look() {
        let (mut beaten, mut silent) = (Window::default(), Window::default());
        for window in [&mut beaten, &mut silent] {
            window.beat(at(0.0));
        }
        beaten.beat(at(1.5));
        assert!(beaten.is_open(Some(at(0.0)), at(3.0)));
        assert!(!silent.is_open(Some(at(0.0)), at(3.0)));
    }

    /// What the model in `tests/lease_model` shows by trying, as arithmetic.
    #[test]
    fn what_an_old_holder_sends_has_arrived_before_the_next_one_looks() {
        let timing = Timing::default();
        let next_looks = timing.takeover_after + timing.settle_after;
        assert!(timing.entry_window + timing.order_lifetime + CLOCK_MARGIN < next_looks);
        assert!(timing.exit_window + timing.order_lifetime + CLOCK_MARGIN < next_looks);
        // Entries need not even the wait before the first look.
        assert!(timing.entry_window + timing.order_lifetime + CLOCK_MARGIN < timing.takeover_after);
        // A process that died sent its last order before its successor began.
        assert!(timing.order_lifetime + CLOCK_MARGIN < timing.settle_after);
        // A single failed renewal and its retry do not shut the window.
        assert!(timing.renew_every + timing.renew_timeout < timing.entry_window);
        assert!(DURATION < timing.takeover_after);
    }
}
