//! A process in a pod, as far as the Lease is concerned.

use std::time::Duration;

use agent::clock::BootTime;
use agent::cluster::fence::{Fence, Permit, Purpose, Refusal};
use agent::cluster::lease::{Candidate, Move, Predecessor, Record, Timing};

use super::rules::Rules;

/// A step of the model.
pub const STEP: Duration = Duration::from_secs(5);
/// Clocks begin late enough to look back.
pub const FIRST: u8 = 20;
/// A bound that is open in the code is closed in the model: it is looked at from just before.
const JUST_BEFORE: Duration = Duration::from_millis(1);

/// Whole steps of a time.
pub fn steps(time: Duration) -> u8 {
    u8::try_from(time.as_secs() / STEP.as_secs()).unwrap_or(u8::MAX)
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Run {
    Awake,
    /// Stopped by a signal, or with its machine.
    Frozen,
    /// For good.
    Ended,
}

/// Where the order of a process is, of which it has one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    None,
    /// Decided, and being made durable; only where nothing is checked later.
    Intended,
    /// On its way.
    Sent,
}

/// What a write of the Lease that is under way will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Put {
    /// The version that it replaces; another one is a conflict.
    pub replaces: u16,
    /// Who is written into it; nobody: it is released.
    pub holder: Option<u8>,
}

/// A write whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Awaited {
    pub put: Put,
    pub predecessor: Predecessor,
    /// When it was sent, on the sender's clock.
    pub sent: u8,
    /// The API server's answer, once there is one: the new version, or a conflict.
    pub answer: Option<Result<u16, ()>>,
}

/// What an attempt at the Lease comes to.
pub enum Attempt {
    /// The Lease is written.
    Write(Awaited),
    /// Someone else has it, or nobody answers.
    Nothing,
    /// It was taken while this process held it, which ends the process.
    Lost,
}

/// A pod and its process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub index: u8,
    pub run: Run,
    /// Cut off from the API server, not from the venue.
    pub cut: bool,
    /// Its clock, in steps.
    pub clock: u8,
    /// A stranger's version and holder, and since when it stands still.
    pub seen: Option<(u16, u8, u8)>,
    pub fence: Fence,
    /// The version of its own last write.
    pub cached: Option<u16>,
    /// When the last successful renewal was sent.
    pub renewed: Option<u8>,
    pub awaited: Option<Awaited>,
    /// When the next attempt is due.
    pub due: u8,
    /// The number of its term; 0 is none.
    pub term: u8,
    pub settled: bool,
    /// Whether it believes that there is a position.
    pub position: bool,
    pub stage: Stage,
}

fn at(clock: u8) -> BootTime {
    BootTime::from_start(STEP * u32::from(clock))
}

fn just_before(clock: u8) -> BootTime {
    BootTime::from_start(STEP * u32::from(clock) - JUST_BEFORE)
}

fn record(version: u16, holder: Option<u8>) -> Record {
    Record { version: version.to_string(), holder: holder.map(|index| index.to_string()) }
}

impl Pod {
    pub fn new(index: u8, timing: &Timing) -> Self {
        Self {
            index,
            run: Run::Awake,
            cut: false,
            clock: FIRST,
            seen: None,
            fence: Fence::new(*timing),
            cached: None,
            renewed: None,
            awaited: None,
            due: FIRST,
            term: 0,
            settled: false,
            position: false,
            stage: Stage::None,
        }
    }

    /// Another process in the same pod: what the last one knew is lost.
    pub fn restarted(&self, timing: &Timing) -> Self {
        Self { cut: self.cut, clock: self.clock, due: self.clock, ..Self::new(self.index, timing) }
    }

    pub fn is_awake(&self) -> bool {
        self.run == Run::Awake
    }

    /// Whether it has to do something before time goes on.
    pub fn is_due(&self) -> bool {
        self.is_awake() && self.awaited.is_none() && self.due <= self.clock
    }

    /// Whether it has waited long enough for an answer.
    pub fn is_overdue(&self, timing: &Timing) -> bool {
        let waited = |awaited: &Awaited| self.clock - awaited.sent >= steps(timing.renew_timeout);
        self.is_awake() && self.awaited.as_ref().is_some_and(waited)
    }

    /// Time goes on; a frozen process says nothing meanwhile.
    pub fn pass(&mut self, passed: u8) {
        let before = self.clock;
        self.clock += passed;
        if self.is_awake() {
            for second in 1..=STEP.as_secs() * u64::from(passed) {
                let now = just_before(before).after(Duration::from_secs(second));
                // Whatever it says, that it was asked is a sign of life.
                let _ = self.fence.permit(Purpose::Entry, self.renewed.map(at), now);
            }
        }
    }

    pub fn thaw(&mut self) {
        self.run = Run::Awake;
        self.fence.beat(just_before(self.clock));
    }

    /// One look at the Lease (none when its own last write is known), and what it does about it.
    pub fn attempt(&mut self, lease: Option<(u16, Option<u8>)>, rules: &Rules) -> Attempt {
        let timing = &rules.timing;
        self.due = self.clock + 1;
        if self.cut {
            self.cached = None;
            return Attempt::Nothing;
        }
        let (version, holder) = match (self.cached.take(), lease) {
            (Some(version), _) => (version, Some(self.index)),
            (None, Some(lease)) => lease,
            (None, None) => return Attempt::Nothing,
        };
        // The candidate of the code is brought back to what it has seen: a state of the model is small.
        let mut candidate = Candidate::new(self.index.to_string(), timing);
        if let Some((version, holder, since)) = self.seen {
            candidate.judge(&record(version, Some(holder)), false, at(since));
        }
        let held = self.renewed.is_some() && (rules.notices_loss || holder.is_some());
        let judged = candidate.judge(&record(version, holder), held, at(self.clock));
        self.seen = match (judged, holder) {
            (Move::Wait(rest), Some(holder)) => {
                Some((version, holder, self.clock - steps(timing.takeover_after - rest)))
            }
            _ => None,
        };
        match judged {
            Move::Take(predecessor) => {
                let put = Put { replaces: version, holder: Some(self.index) };
                Attempt::Write(Awaited { put, predecessor, sent: self.clock, answer: None })
            }
            Move::Lost => Attempt::Lost,
            Move::Wait(_) => Attempt::Nothing,
        }
    }

    /// The answer to its write came. Says whether a term begins.
    pub fn answered(&mut self, awaited: Awaited, version: Result<u16, ()>, timing: &Timing) -> bool {
        let Ok(version) = version else {
            self.due = self.clock;
            return false;
        };
        let begins = self.renewed.is_none();
        if begins {
            self.fence.begin(awaited.predecessor, at(awaited.sent));
        }
        self.cached = Some(version);
        self.renewed = Some(awaited.sent);
        self.due = self.clock.max(awaited.sent + steps(timing.renew_every));
        begins
    }

    pub fn may_look(&self) -> bool {
        self.is_awake() && !self.settled && self.fence.may_look(at(self.clock))
    }

    pub fn settle(&mut self) {
        self.settled = self.fence.settle(at(self.clock));
    }

    pub fn permit(&mut self, purpose: Purpose) -> Result<Permit, Refusal> {
        self.fence.permit(purpose, self.renewed.map(at), just_before(self.clock))
    }

    /// Whether it may open positions once it has looked at the venue.
    pub fn is_open(&self) -> bool {
        let mut probe = self.clone();
        probe.fence.settle(at(u8::MAX));
        probe.is_awake() && probe.permit(Purpose::Entry).is_ok()
    }

    pub fn may_release(&self) -> bool {
        self.fence.may_release(usize::from(self.stage == Stage::Sent), at(self.clock))
    }
}
