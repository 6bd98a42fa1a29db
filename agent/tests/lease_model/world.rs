//! Pods, the API server with the Lease, the venue, and what goes wrong.

use agent::cluster::fence::Purpose;
use agent::cluster::lease::Predecessor;
use stateright::{Model, Property};

use super::pod::{Attempt, Awaited, FIRST, Pod, Put, Run, Stage, steps};
use super::rules::Rules;

/// What must never be at the venue.
pub const ORDERS: &str = "orders are fenced";
/// What must be in the end.
pub const ONE_HOLDER: &str = "one holder in the end";
/// What must be all the time where hardly anything goes wrong.
pub const STEADY: &str = "the holder may always open";

/// The holder that the operator writes into a Lease that it makes anew.
const UNKNOWN: u8 = u8::MAX;
/// When the first fault has happened: within a period of the renewals, after all have seen the Lease.
const FIRST_FAULT: u8 = 2;
/// What never becomes void.
const NEVER: u8 = u8::MAX;

/// Which orders are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orders {
    /// Each holder opens.
    Entries,
    /// There is one position of one unit, and each holder that believes in it closes it.
    Exits,
    /// None: it is about the Lease.
    None,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process is stopped, by a signal or with its machine.
    Freeze,
    /// A process ends and another begins in its pod.
    Restart,
    /// A process is asked to end, and its pod goes.
    Terminate,
    /// A pod cannot reach the API server.
    Cut,
    /// A renewal is held up on its way there, or back.
    Slow,
    /// Somebody deletes the Lease.
    Delete,
    /// A clock is a step wrong. Only one, once.
    Drift,
}

impl Fault {
    const ALL: [Self; 7] =
        [Self::Freeze, Self::Restart, Self::Terminate, Self::Cut, Self::Slow, Self::Delete, Self::Drift];
}

/// A run: its rules, and how much goes wrong in it.
#[derive(Clone, Debug)]
pub struct World {
    pub rules: Rules,
    pub orders: Orders,
    pub pods: u8,
    pub faults: Vec<Fault>,
    /// How many faults.
    pub budget: u8,
    /// When all that went wrong is right again.
    pub calm: u8,
    /// When the run ends.
    pub end: u8,
}

impl World {
    /// Anything may go wrong at any time.
    pub fn safety(orders: Orders, rules: Rules) -> Self {
        let end = FIRST + 20;
        Self { rules, orders, pods: 2, faults: Fault::ALL.to_vec(), budget: 2, calm: end, end }
    }

    /// Faults end; then there is time for one to take over.
    pub fn liveness(rules: Rules) -> Self {
        let calm = FIRST + 9;
        let world = Self::safety(Orders::None, rules);
        let takeover = steps(Rules::default().timing.takeover_after);
        Self { budget: 3, calm, end: calm + takeover + 3, ..world }
    }

    /// One renewal comes to nothing.
    pub fn steady(rules: Rules) -> Self {
        Self { faults: vec![Fault::Slow], budget: 1, ..Self::safety(Orders::None, rules) }
    }

    fn is_steady(&self) -> bool {
        self.faults == [Fault::Slow] && self.budget <= 1
    }

    fn purpose(&self) -> Purpose {
        if self.orders == Orders::Exits { Purpose::Exit } else { Purpose::Entry }
    }
}

/// An order on its way to the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flight {
    term: u8,
    /// The venue takes it until then.
    void_after: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Venue {
    /// The newest term of which an entry has arrived.
    newest: u8,
    /// Exits that work, and that were filled.
    working: u8,
    filled: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    budget: u8,
    drifted: bool,
    /// Version and holder of the Lease; none: it was deleted.
    lease: Option<(u16, Option<u8>)>,
    last_version: u16,
    terms: u8,
    pods: Vec<Pod>,
    /// Writes that nobody waits for any more, and that may still be done.
    strays: Vec<Put>,
    flights: Vec<Flight>,
    venue: Venue,
    /// Something arrived that never may.
    broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A step of time passes; to the clock of one pod it may seem none, or two.
    Tick(Option<(u8, u8)>),
    /// A pod looks at the Lease and writes it if it may, answered at once.
    Attempt(u8),
    /// The same, and the write is held up.
    SlowAttempt(u8),
    /// A write that was held up reaches the API server.
    Apply(u8),
    /// And its answer the pod.
    Answer(u8),
    GiveUp(u8),
    /// A write that nobody waits for reaches the API server.
    ApplyStray(usize),
    Freeze(u8),
    Thaw(u8),
    Restart(u8),
    Terminate(u8),
    Cut(u8),
    Heal(u8),
    Delete,
    Recreate,
    /// A holder cancels what works at the venue and reads its positions; what worked may have been filled before.
    Settle(u8, bool),
    Intend(u8),
    Send(u8),
    Arrive(usize),
}

impl State {
    fn pod(&mut self, index: u8) -> &mut Pod {
        &mut self.pods[usize::from(index)]
    }

    /// Every version is another one, and the same however often was written before this step.
    fn write(&mut self, holder: Option<u8>) -> u16 {
        self.last_version = (self.last_version + 1).max(u16::from(self.now) * 8);
        self.lease = Some((self.last_version, holder));
        self.last_version
    }

    fn apply(&mut self, put: Put) -> Result<u16, ()> {
        match self.lease {
            Some((version, _)) if version == put.replaces => Ok(self.write(put.holder)),
            _ => Err(()),
        }
    }

    /// The process of a pod is no more; what it has sent goes on.
    fn abandon(&mut self, index: u8) {
        if let Some(awaited) = self.pod(index).awaited.take()
            && awaited.answer.is_none()
        {
            self.strays.push(awaited.put);
        }
    }

    fn answer(&mut self, index: u8, awaited: Awaited, version: Result<u16, ()>, world: &World) {
        if self.pod(index).answered(awaited, version, &world.rules.timing) {
            self.terms += 1;
            let terms = self.terms;
            self.pod(index).term = terms;
            // Until it has asked the venue it believes what its journal says.
            self.pod(index).position = world.orders == Orders::Exits;
        }
    }

    /// Leaves out what can make no difference any more.
    fn tidy(&mut self) {
        let current = self.lease.map(|(version, _)| version);
        self.strays.retain(|put| Some(put.replaces) == current);
        self.strays.sort_unstable_by_key(|put| (put.replaces, put.holder));
        self.strays.dedup();
        self.flights.sort_unstable();
    }
}

/// How the world goes on.
impl World {
    fn attempt(&self, state: &mut State, index: u8, slow: bool) {
        let lease = state.lease;
        match state.pod(index).attempt(lease, &self.rules) {
            Attempt::Nothing => {}
            Attempt::Lost => *state.pod(index) = state.pod(index).restarted(&self.rules.timing),
            Attempt::Write(awaited) if slow => state.pod(index).awaited = Some(awaited),
            Attempt::Write(awaited) => {
                let version = state.apply(awaited.put);
                state.answer(index, awaited, version, self);
            }
        }
    }

    fn tick(&self, state: &mut State, wrong: Option<(u8, u8)>) {
        let lease = state.lease;
        for pod in state.pods.iter_mut().filter(|pod| pod.is_due()) {
            pod.attempt(lease, &self.rules);
        }
        state.now += 1;
        for pod in &mut state.pods {
            let passed = match wrong {
                Some((index, passed)) if index == pod.index => passed,
                _ if pod.run == Run::Frozen && !self.rules.clock_counts_suspension => 0,
                _ => 1,
            };
            pod.pass(passed);
        }
        if wrong.is_some() {
            state.drifted = true;
            state.budget -= 1;
        }
        let now = state.now;
        let (arriving, void): (Vec<Flight>, Vec<Flight>) =
            state.flights.iter().partition(|flight| flight.void_after >= now);
        state.flights = arriving;
        for flight in void {
            self.known(state, flight);
        }
        if now == self.calm {
            state.strays.clear();
        }
    }

    /// The sender of an order learns what became of it.
    fn known(&self, state: &mut State, flight: Flight) {
        for pod in &mut state.pods {
            if pod.term == flight.term && pod.stage == Stage::Sent {
                pod.stage = Stage::None;
            }
        }
    }

    fn arrive(&self, state: &mut State, index: usize) {
        let flight = state.flights.remove(index);
        self.known(state, flight);
        match self.orders {
            Orders::Exits => {
                for pod in state.pods.iter_mut().filter(|pod| pod.term == flight.term) {
                    pod.position = false;
                }
                state.venue.working += 1;
                state.broken |= state.venue.working + state.venue.filled > 1;
            }
            Orders::Entries | Orders::None => {
                state.broken |= flight.term < state.venue.newest;
                state.venue.newest = state.venue.newest.max(flight.term);
            }
        }
    }

    fn send(&self, state: &mut State, index: u8) {
        let (purpose, now) = (self.purpose(), state.now);
        let lifetime = steps(self.rules.timing.order_lifetime);
        let pod = state.pod(index);
        let expires = if self.rules.checked_before_send {
            match pod.permit(purpose) {
                Ok(permit) => permit.void_after.is_some(),
                Err(_) => return,
            }
        } else {
            true
        };
        let expires = expires && (purpose == Purpose::Entry || self.rules.exits_expire);
        pod.stage = Stage::Sent;
        let flight =
            Flight { term: pod.term, void_after: if expires { now.saturating_add(lifetime) } else { NEVER } };
        state.flights.push(flight);
    }

    fn terminate(&self, state: &mut State, index: u8) {
        state.abandon(index);
        let pod = state.pod(index);
        let releases =
            pod.renewed.is_some() && !pod.cut && (self.rules.releases_in_flight || pod.may_release());
        pod.run = Run::Ended;
        match state.lease {
            Some((_, Some(holder))) if releases && holder == index => {
                state.write(None);
            }
            _ => {}
        }
    }

    /// What a pod that is awake may do at the venue.
    fn deeds(&self, state: &State, pod: &Pod, actions: &mut Vec<Action>) {
        if self.orders == Orders::None || pod.term == 0 {
            return;
        }
        if pod.may_look() {
            actions.push(Action::Settle(pod.index, false));
            if state.venue.working > 0 {
                actions.push(Action::Settle(pod.index, true));
            }
        }
        let wants = self.orders == Orders::Entries || pod.position;
        let mut probe = pod.clone();
        match pod.stage {
            Stage::None if wants && probe.permit(self.purpose()).is_ok() => {
                let checked = self.rules.checked_before_send;
                actions.push(if checked { Action::Send(pod.index) } else { Action::Intend(pod.index) });
            }
            Stage::Intended => actions.push(Action::Send(pod.index)),
            _ => {}
        }
    }

    fn mishaps(&self, state: &State, pod: &Pod, actions: &mut Vec<Action>) {
        if state.budget == 0 || state.now == FIRST || state.now >= self.calm || pod.run == Run::Ended {
            return;
        }
        let others = state.pods.iter().any(|other| other.index != pod.index && other.run != Run::Ended);
        for fault in &self.faults {
            match fault {
                Fault::Freeze if pod.is_awake() => actions.push(Action::Freeze(pod.index)),
                Fault::Restart => actions.push(Action::Restart(pod.index)),
                Fault::Terminate if pod.is_awake() && others => actions.push(Action::Terminate(pod.index)),
                Fault::Cut if !pod.cut => actions.push(Action::Cut(pod.index)),
                Fault::Slow if self.is_next(state, pod) && !pod.cut => {
                    actions.push(Action::SlowAttempt(pod.index))
                }
                _ => {}
            }
        }
    }

    /// Whether a pod has to do something before time goes on. One that would only look and wait does so last of
    /// all, with the step's end, and sees the newest there is: from an older sight it would wait longer.
    fn is_busy(&self, state: &State, pod: &Pod) -> bool {
        let mut probe = pod.clone();
        pod.is_due() && !matches!(probe.attempt(state.lease, &self.rules), Attempt::Nothing)
    }

    /// Within a step the holder goes first: what others do before it they also do when it is late by a step.
    fn is_next(&self, state: &State, pod: &Pod) -> bool {
        let holder = state.lease.and_then(|(_, holder)| holder);
        let rank = |pod: &Pod| (Some(pod.index) != holder, pod.index);
        let busy = |other: &&Pod| self.is_busy(state, other);
        self.is_busy(state, pod) && state.pods.iter().filter(busy).all(|other| rank(pod) <= rank(other))
    }

    /// Whether time may go on: whatever has to happen now has happened.
    fn may_tick(&self, state: &State) -> bool {
        let calm = state.now != self.calm
            || self.calm == self.end
            || (state.lease.is_some()
                && state.strays.is_empty()
                && state.pods.iter().all(|pod| pod.run != Run::Frozen && !pod.cut && pod.awaited.is_none()));
        // While nothing goes wrong everything is as it was two steps before.
        let first = state.budget < self.budget || self.is_steady() || state.now < FIRST + FIRST_FAULT;
        let idle = |pod: &Pod| !self.is_busy(state, pod) && !pod.is_overdue(&self.rules.timing);
        state.now < self.end && calm && first && state.pods.iter().all(idle)
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    /// The first pod holds the Lease, and nothing of anybody else is anywhere.
    fn init_states(&self) -> Vec<State> {
        let mut pods: Vec<Pod> = (0..self.pods).map(|index| Pod::new(index, &self.rules.timing)).collect();
        let mut state = State {
            now: FIRST,
            budget: self.budget,
            drifted: false,
            lease: None,
            last_version: 0,
            terms: 0,
            pods: Vec::new(),
            strays: Vec::new(),
            flights: Vec::new(),
            venue: Venue::default(),
            broken: false,
        };
        let version = state.write(None);
        let put = Put { replaces: version, holder: Some(0) };
        let awaited = Awaited { put, predecessor: Predecessor::Nobody, sent: FIRST, answer: None };
        pods.iter_mut().for_each(|pod| pod.pass(0));
        state.pods = pods;
        let version = state.apply(put);
        state.answer(0, awaited, version, self);
        state.pod(0).settle();
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken {
            return;
        }
        for pod in &state.pods {
            let index = pod.index;
            if self.is_next(state, pod) {
                actions.push(Action::Attempt(index));
            }
            if let Some(awaited) = &pod.awaited {
                match awaited.answer {
                    None => actions.push(Action::Apply(index)),
                    Some(_) if pod.is_awake() && !pod.cut => actions.push(Action::Answer(index)),
                    Some(_) => {}
                }
                if pod.is_overdue(&self.rules.timing) {
                    actions.push(Action::GiveUp(index));
                }
            }
            match pod.run {
                Run::Awake => self.deeds(state, pod, actions),
                Run::Frozen => actions.push(Action::Thaw(index)),
                Run::Ended => continue,
            }
            if pod.cut {
                actions.push(Action::Heal(index));
            }
            self.mishaps(state, pod, actions);
        }
        actions.extend((0..state.strays.len()).map(Action::ApplyStray));
        for (index, flight) in state.flights.iter().enumerate() {
            // An entry before which nobody has sent one, and that is not late, changes nothing by its arrival.
            let matters = flight.term > 1 || flight.term < state.venue.newest;
            if self.orders == Orders::Exits || matters {
                actions.push(Action::Arrive(index));
            }
        }
        let time = FIRST + 1..self.calm;
        let may_fail = |fault| state.budget > 0 && time.contains(&state.now) && self.faults.contains(&fault);
        match state.lease {
            None => actions.push(Action::Recreate),
            Some(_) if may_fail(Fault::Delete) => actions.push(Action::Delete),
            Some(_) => {}
        }
        if self.may_tick(state) {
            actions.push(Action::Tick(None));
            if may_fail(Fault::Drift) && !state.drifted {
                for pod in state.pods.iter().filter(|pod| pod.run != Run::Ended) {
                    actions.extend([0, 2].map(|passed| Action::Tick(Some((pod.index, passed)))));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        let state = &mut next;
        match action {
            Action::Tick(wrong) => self.tick(state, wrong),
            Action::Attempt(index) => self.attempt(state, index, false),
            Action::SlowAttempt(index) => {
                self.attempt(state, index, true);
                state.pod(index).awaited?;
                state.budget -= 1;
            }
            Action::Apply(index) => {
                let mut awaited = state.pod(index).awaited?;
                awaited.answer = Some(state.apply(awaited.put));
                state.pod(index).awaited = Some(awaited);
            }
            Action::Answer(index) => {
                let awaited = state.pod(index).awaited.take()?;
                state.answer(index, awaited, awaited.answer?, self);
            }
            Action::GiveUp(index) => {
                state.abandon(index);
                let pod = state.pod(index);
                pod.cached = None;
                pod.due = pod.clock;
            }
            Action::ApplyStray(index) => {
                let put = state.strays.remove(index);
                // Nobody hears of it.
                let _ = state.apply(put);
            }
            Action::Freeze(index) => {
                state.pod(index).run = Run::Frozen;
                state.budget -= 1;
            }
            Action::Thaw(index) => state.pod(index).thaw(),
            Action::Restart(index) => {
                state.abandon(index);
                *state.pod(index) = state.pod(index).restarted(&self.rules.timing);
                state.budget -= 1;
            }
            Action::Terminate(index) => {
                self.terminate(state, index);
                state.budget -= 1;
            }
            Action::Cut(index) => {
                state.pod(index).cut = true;
                state.budget -= 1;
            }
            Action::Heal(index) => state.pod(index).cut = false,
            Action::Delete => {
                state.lease = None;
                state.budget -= 1;
            }
            Action::Recreate => {
                state.write(self.rules.recreated_as_unknown.then_some(UNKNOWN));
            }
            Action::Settle(index, filled) => {
                let venue = &mut state.venue;
                if filled {
                    venue.filled += venue.working;
                }
                if filled || self.rules.cancels_working_orders {
                    venue.working = 0;
                }
                let open = self.orders == Orders::Exits && venue.filled == 0;
                let pod = state.pod(index);
                pod.settle();
                pod.position = open;
            }
            Action::Intend(index) => state.pod(index).stage = Stage::Intended,
            Action::Send(index) => self.send(state, index),
            Action::Arrive(index) => self.arrive(state, index),
        }
        next.tidy();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(ORDERS, |_, state| !state.broken),
            Property::<Self>::always(ONE_HOLDER, |world, state| {
                world.orders != Orders::None || state.now < world.end || world.holders(state) == 1
            }),
            Property::<Self>::always(STEADY, |world, state| !world.is_steady() || world.holders(state) == 1),
        ]
    }
}

impl World {
    /// How many processes hold the Lease and may open positions.
    fn holders(&self, state: &State) -> usize {
        let is_holder =
            |pod: &&Pod| pod.is_open() && state.lease.is_some_and(|(_, holder)| holder == Some(pod.index));
        state.pods.iter().filter(is_holder).count()
    }
}
