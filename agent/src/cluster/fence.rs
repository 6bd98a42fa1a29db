//! What may leave for the venue: the rules that each order of a process meets right before its bytes go to the
//! socket, without any I/O.

use std::time::Duration;

use super::lease::{Predecessor, Shut, Timing, Window};
use crate::clock::BootTime;

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Opens or adds.
    Entry,
    /// Reduces or closes, as far as this process knows.
    Exit,
    /// Reduces or closes, which the venue itself enforces: it cannot do harm, whoever sends it.
    ReduceOnly,
}

/// An order may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The order must tell the venue to refuse it from this moment on: between the check and the last byte the
    /// process may be frozen, and on the way the order may be held up. None: whenever it arrives it is right.
    pub void_after: Option<BootTime>,
}

/// An order may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This process never held the Lease.
    #[error("LeaseNotHeld: another agent trades for this bot; `kubectl get lease` names it")]
    NotHeld,
    /// A predecessor's orders may be on their way, or nobody has looked at what it left at the venue.
    #[error(
        "LeaseUnsettled: the Lease was taken from an agent that did not release it; \
         nothing is sent until its orders and positions were looked at"
    )]
    Unsettled,
    /// The process stood still.
    #[error("LeaseStalled: the process stood still; entries wait for the next renewal of the Lease")]
    Stalled,
    /// The last renewal is too old.
    #[error(
        "LeaseOld: the last renewal of the Lease was sent {} s ago; is the API server reachable?",
        .0.as_secs()
    )]
    Old(Duration),
}

impl Refusal {
    /// The word by which it is known in metrics and decisions.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotHeld => "LeaseNotHeld",
            Self::Unsettled => "LeaseUnsettled",
            Self::Stalled => "LeaseStalled",
            Self::Old(_) => "LeaseOld",
        }
    }
}

impl From<Shut> for Refusal {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::NotHeld => Self::NotHeld,
            Shut::Stalled => Self::Stalled,
            Shut::Old(age) => Self::Old(age),
        }
    }
}

/// A term of this process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Term {
    /// From then on nothing of a predecessor is on its way.
    quiet_from: BootTime,
    /// Whether what a predecessor left at the venue was looked at.
    settled: bool,
}

/// Stands between a process and its venue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence {
    window: Window,
    term: Option<Term>,
}

impl Fence {
    /// A fence of other times than the code's.
    pub const fn new(timing: Timing) -> Self {
        Self { window: Window::new(timing), term: None }
    }

    /// Says that the process lives: see [`Window::beat`].
    pub fn beat(&mut self, now: BootTime) {
        self.window.beat(now);
    }

    /// A term begins, with a write of the Lease that was sent at `sent`. Who follows one that did not release
    /// it leaves the venue alone until the last order of the other has arrived or is void: an exit may leave
    /// nearly until the Lease is taken, and a process may send something as it dies.
    pub fn begin(&mut self, predecessor: Predecessor, sent: BootTime) {
        let wait = match predecessor {
            Predecessor::Nobody => Duration::ZERO,
            Predecessor::Own | Predecessor::Stranger => self.window.timing().settle_after,
        };
        self.term = Some(Term { quiet_from: sent.after(wait), settled: false });
    }

    /// Whether it is time to cancel or adopt working orders and to read positions, which comes before the first
    /// order of any kind.
    pub fn may_look(&self, now: BootTime) -> bool {
        self.term.as_ref().is_some_and(|term| now >= term.quiet_from)
    }

    /// Working orders were cancelled or adopted and positions read by a look that began at `began`. Says whether
    /// that counts: an earlier look may have missed what was on its way.
    pub fn settle(&mut self, began: BootTime) -> bool {
        match &mut self.term {
            Some(term) if began >= term.quiet_from => {
                term.settled = true;
                true
            }
            _ => false,
        }
    }

    /// Whether an order may leave, asked right before its bytes go to the socket, given when the last successful
    /// renewal was sent. Entries need a young one. Exits leave until a stranger could take the Lease, and after
    /// that only where the venue enforces that they reduce.
    ///
    /// # Errors
    /// Why it may not.
    pub fn permit(
        &mut self,
        purpose: Purpose,
        renewal_sent: Option<BootTime>,
        now: BootTime,
    ) -> Result<Permit, Refusal> {
        let open = self.window.look(renewal_sent, now);
        let (Some(term), Some(sent)) = (&self.term, renewal_sent) else { return Err(Refusal::NotHeld) };
        if !term.settled {
            return Err(Refusal::Unsettled);
        }
        let timing = self.window.timing();
        let fenced = Permit { void_after: Some(now.after(timing.order_lifetime)) };
        match purpose {
            Purpose::Entry => open.map(|()| fenced).map_err(Refusal::from),
            Purpose::Exit if now.since(sent) >= timing.exit_window => Err(Refusal::Old(now.since(sent))),
            Purpose::Exit => Ok(fenced),
            Purpose::ReduceOnly => Ok(Permit { void_after: None }),
        }
    }

    /// Whether a process that ends may release the Lease, so that the next one need not wait: when every order
    /// of this process has a known outcome, and none of a predecessor can be on its way.
    pub fn may_release(&self, orders_in_flight: usize, now: BootTime) -> bool {
        orders_in_flight == 0 && self.may_look(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_start(Duration::from_secs(seconds))
    }

    /// A holder since second 100, alive in every second.
    struct Holder {
        fence: Fence,
        now: u64,
    }

    impl Holder {
        fn after(predecessor: Predecessor) -> Self {
            let mut fence = Fence::default();
            fence.begin(predecessor, at(100));
            Self { fence, now: 100 }
        }

        fn settled() -> Self {
            let mut holder = Self::after(Predecessor::Nobody);
            assert!(holder.fence.settle(at(100)));
            holder
        }

        /// What becomes of an order at a second, when the last renewal was sent at 100.
        fn sends(&mut self, purpose: Purpose, second: u64) -> Result<Permit, Refusal> {
            while self.now < second {
                self.now += 1;
                self.fence.beat(at(self.now));
            }
            self.fence.permit(purpose, Some(at(100)), at(second))
        }
    }

    #[test]
    fn who_never_held_the_lease_sends_nothing() {
        for purpose in [Purpose::Entry, Purpose::Exit, Purpose::ReduceOnly] {
            assert_eq!(Fence::default().permit(purpose, None, at(100)), Err(Refusal::NotHeld));
            assert_eq!(Fence::default().permit(purpose, Some(at(100)), at(100)), Err(Refusal::NotHeld));
        }
    }

    #[test]
    fn entries_end_at_20_s_exits_at_45_s_and_what_the_venue_enforces_never() {
        let mut holder = Holder::settled();
        let for_ten_seconds = |second: u64| Ok(Permit { void_after: Some(at(second + 10)) });
        let old = |seconds| Err(Refusal::Old(Duration::from_secs(seconds)));
        assert_eq!(holder.sends(Purpose::Entry, 119), for_ten_seconds(119));
        assert_eq!(holder.sends(Purpose::Entry, 120), old(20));
        assert_eq!(holder.sends(Purpose::Exit, 144), for_ten_seconds(144));
        assert_eq!(holder.sends(Purpose::Exit, 145), old(45));
        assert_eq!(holder.sends(Purpose::ReduceOnly, 1_000), Ok(Permit { void_after: None }));
    }

    #[test]
    fn after_a_stall_entries_wait_for_a_renewal_and_exits_do_not() {
        let mut holder = Holder::settled();
        assert!(holder.sends(Purpose::Entry, 101).is_ok());
        holder.now = 105;
        assert_eq!(holder.sends(Purpose::Entry, 105), Err(Refusal::Stalled), "nobody said that it lives");
        assert!(holder.sends(Purpose::Exit, 105).is_ok());
        assert!(holder.fence.permit(Purpose::Entry, Some(at(106)), at(106)).is_ok());
    }

    #[test]
    fn nothing_leaves_before_the_predecessors_orders_have_arrived_and_were_looked_at() {
        for predecessor in [Predecessor::Own, Predecessor::Stranger] {
            let mut holder = Holder::after(predecessor);
            assert!(!holder.fence.may_look(at(119)));
            assert!(!holder.fence.settle(at(119)), "it may have missed something");
            for purpose in [Purpose::Entry, Purpose::Exit, Purpose::ReduceOnly] {
                assert_eq!(holder.sends(purpose, 120), Err(Refusal::Unsettled));
            }
            assert!(holder.fence.may_look(at(120)) && holder.fence.settle(at(120)));
            assert!(holder.sends(Purpose::Exit, 120).is_ok());
        }
        let mut heir = Holder::after(Predecessor::Nobody);
        assert_eq!(heir.sends(Purpose::Exit, 100), Err(Refusal::Unsettled));
        assert!(heir.fence.settle(at(100)), "nothing can be on its way, but something may lie there");
        assert!(heir.sends(Purpose::Exit, 100).is_ok());
    }

    #[test]
    fn a_lease_is_released_when_nothing_is_in_flight_of_this_process_or_the_one_before() {
        let holder = Holder::settled();
        assert!(holder.fence.may_release(0, at(100)) && !holder.fence.may_release(1, at(100)));
        let restarted = Holder::after(Predecessor::Own);
        assert!(!restarted.fence.may_release(0, at(119)) && restarted.fence.may_release(0, at(120)));
        assert!(!Fence::default().may_release(0, at(100)), "it is not its own");
    }

    #[test]
    fn a_refusal_begins_with_its_reason() {
        for refusal in [Refusal::NotHeld, Refusal::Unsettled, Refusal::Stalled, Refusal::Old(Duration::ZERO)]
        {
            assert!(refusal.to_string().starts_with(&format!("{}: ", refusal.reason())), "{refusal}");
        }
    }
}
