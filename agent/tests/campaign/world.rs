//! The world around the process: time, market, network, faults, and what must be true at every moment.

use std::collections::{BTreeMap, BTreeSet};

use agent::venue::Venue;
use crds::Timeframe;
use engine::orders::{Command, Instruction, Intent, News, Report, VenueReport};
use engine::{Bar, Event, EventKind, Id, Output, Role};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rust_decimal::Decimal;

use crate::bug::Bug;
use crate::disk::Disk;
use crate::process::Process;
use crate::venue::{PaperVenue, Said};

/// A position may be without a stop or an exit at work for so long: the time in which a fill is learnt of
/// after its report, and the stop's order, were lost twice each, a slow disk, and a death in between.
pub const UNPROTECTED_LIMIT: i64 = 90_000;
/// Nothing is decided on a quote that is older.
const QUOTE_LIMIT: i64 = 30_000;
/// So many messages in a row are lost each way, and no more.
const LOST_IN_A_ROW: u32 = 2;
/// Bars between decisions.
const ROUND: i64 = 4 * 3600 * 1000;
const ROUNDS: i64 = 5;
/// How long the market is watched closely around each decision, in milliseconds.
const BEFORE: i64 = 4_000;
const AFTER: i64 = 75_000;
/// How much longer, when something is at risk or on its way.
const PATIENCE: i64 = 2 * UNPROTECTED_LIMIT;
/// How long everything is well-behaved in the end.
const QUIET: i64 = 40_000;

/// The process died.
#[derive(Debug)]
pub struct Killed;

#[derive(Debug)]
enum Happening {
    Tick,
    Command(Command),
    Report(u32, VenueReport),
    Commit(u32),
    Restart,
}

/// How the market goes in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Path {
    Calm,
    /// Falls below any stop at that second of the round.
    Falls(i64),
    /// Touches the stop for a moment and comes back.
    Dips(i64),
    Rises,
}

#[derive(Debug)]
pub struct World {
    now: i64,
    start: Timestamp,
    rng: StdRng,
    queue: BTreeMap<(i64, u64), Happening>,
    count: u64,
    pub venue: PaperVenue,
    pub disk: Disk,
    pub lease: bool,
    lease_back: i64,
    feed_back: i64,
    price: f64,
    open: f64,
    path: Path,
    bars: Vec<(i64, Bar)>,
    /// When the newest bar is delivered, if it was not yet.
    bar_due: Option<i64>,
    /// How long after its end the bar of this round is delivered.
    bar_late: i64,
    last_quote: Option<i64>,
    incarnation: u32,
    is_rough: bool,
    kills: u32,
    lost: [u32; 2],
    commit_planned: bool,
    /// When the next commit takes long.
    slow_from: i64,
    sent: BTreeSet<Id>,
    /// What the journal holds durably.
    pub intended: BTreeMap<Id, Vec<Intent>>,
    uncovered_since: Option<i64>,
    pub longest_uncovered: i64,
    pub story: Vec<String>,
    pub violations: Vec<(&'static str, String)>,
    pub seen: BTreeMap<&'static str, u64>,
}

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    pub story: Vec<String>,
    pub violations: Vec<(&'static str, String)>,
    pub seen: BTreeMap<&'static str, u64>,
    pub longest_uncovered: i64,
}

pub fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut world = World::new(seed);
    let mut process = Process::start(&mut world, bug).ok();
    world.warm_up(&mut process);
    for round in 1..=ROUNDS {
        world.play_round(round, &mut process, bug);
    }
    world.be_quiet(&mut process, bug);
    world.judge(process.as_ref());
    let World { story, violations, seen, longest_uncovered, .. } = world;
    Outcome { story, violations, seen, longest_uncovered }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now: 0,
            start: "2026-01-05T00:00:00Z".parse().unwrap(),
            rng: StdRng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            count: 0,
            venue: PaperVenue::default(),
            disk: Disk::default(),
            lease: true,
            lease_back: 0,
            feed_back: 0,
            price: 50_000.0,
            open: 50_000.0,
            path: Path::Calm,
            bars: Vec::new(),
            bar_due: None,
            bar_late: 0,
            last_quote: None,
            incarnation: 0,
            is_rough: false,
            kills: 0,
            lost: [0; 2],
            commit_planned: false,
            slow_from: i64::MAX,
            sent: BTreeSet::new(),
            intended: BTreeMap::new(),
            uncovered_since: None,
            longest_uncovered: 0,
            story: Vec::new(),
            violations: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    pub fn time(&self) -> Timestamp {
        self.at(self.now)
    }

    fn at(&self, milliseconds: i64) -> Timestamp {
        self.start + jiff::SignedDuration::from_millis(milliseconds)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.is_rough && self.rng.random_bool(probability)
    }

    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn tell(&mut self, text: String) {
        self.story.push(format!("{} {text}", self.time()));
    }

    pub fn violation(&mut self, rule: &'static str, text: String) {
        self.tell(format!("VIOLATION: {rule}: {text}"));
        self.violations.push((rule, text));
    }

    pub fn was_sent(&self, id: &Id) -> bool {
        self.sent.contains(id)
    }

    /// A point at which the process may die.
    pub fn point(&mut self, place: &'static str, weight: u32) -> Result<(), Killed> {
        let dies = self.kills > 0 && self.is_rough && self.rng.random_range(0..4_000) < weight;
        if !dies {
            return Ok(());
        }
        self.kills -= 1;
        self.saw(place);
        self.tell(format!("the process is killed {place}"));
        Err(Killed)
    }

    /// The journal is written in groups: soon, or, on a slow disk, much later.
    pub fn plan_commit(&mut self) {
        if !self.commit_planned {
            self.commit_planned = true;
            let slow = self.now >= self.slow_from || self.chance(0.01);
            if slow {
                self.slow_from = i64::MAX;
            }
            let delay = match slow {
                true => self.rng.random_range(2_000..13_000),
                false => self.rng.random_range(0..20),
            };
            self.queue(delay, Happening::Commit(self.incarnation));
        }
    }

    fn queue(&mut self, delay: i64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now + delay, self.count), happening);
    }

    /// What the process says it wants, for the story and for what must hold at the decision.
    pub fn observe(&mut self, event: &Event, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Command(Command::Submit(intent)) if intent.role == Role::Entry => {
                    // Before the first quote, bars are what it has; here they are never late.
                    let age = self.last_quote.map_or(0, |at| self.now - at);
                    if age > QUOTE_LIMIT {
                        self.violation("an entry rests on stale data", format!("{age} ms old"));
                    }
                    self.tell(format!("wants {} {:?} {}", intent.quantity, intent.role, intent.id));
                }
                Output::Fill(fill) => {
                    self.tell(format!(
                        "books {:?} {} at {} of {}",
                        fill.role, fill.quantity, fill.price, fill.order
                    ));
                }
                Output::Discrepancy(found) => {
                    self.saw("ledger and venue differed");
                    self.tell(format!("{found:?}"));
                }
                Output::TradeClosed(trade) => {
                    self.saw("a trade was closed");
                    self.tell(format!("a trade is closed by {:?}", trade.exit_reason));
                }
                Output::IllegalTransition(_) => {
                    self.violation("the loop made an illegal move", format!("{event:?}"))
                }
                Output::Refused(refused) => {
                    self.saw("an event was refused");
                    self.tell(format!("refused: {}", refused.message));
                }
                _ => {}
            }
        }
    }

    /// Entries have reached the disk.
    pub fn synced(&mut self, entries: &[(Event, Vec<Output>)]) {
        self.disk.sync();
        for output in entries.iter().flat_map(|(_, outputs)| outputs) {
            if let Output::Command(Command::Submit(intent)) = output {
                self.intended.entry(intent.id.clone()).or_default().push(intent.clone());
            }
        }
    }

    fn is_lost(&mut self, way: usize) -> bool {
        let lost = self.lost[way] < LOST_IN_A_ROW && self.chance(0.12);
        self.lost[way] = if lost { self.lost[way] + 1 } else { 0 };
        lost
    }

    fn travel(&mut self) -> i64 {
        match (self.is_rough, self.rng.random_range(0..10)) {
            (false, _) => 5,
            (true, 0) => self.rng.random_range(1_000..4_500),
            (true, _) => self.rng.random_range(1..300),
        }
    }

    fn said(&mut self, said: Said) {
        for what in said.seen {
            self.saw(what);
        }
        for (breach, text) in said.breaches {
            let rule = match breach {
                crate::venue::Breach::OtherBody => "an id came again with another body",
                crate::venue::Breach::ExitsExceedPosition => "exits exceed the position",
            };
            self.violation(rule, text);
        }
        for report in said.certain {
            let delay = self.travel();
            self.queue(delay, Happening::Report(self.incarnation, report));
        }
        for (delay, report) in said.reports {
            if self.is_lost(1) {
                self.saw("a report was lost");
                self.tell(format!("lost: {}", short(&report)));
                continue;
            }
            let copies = if self.chance(0.1) { 2 } else { 1 };
            for _ in 0..copies {
                let delay = delay + self.travel();
                self.queue(delay, Happening::Report(self.incarnation, report.clone()));
            }
        }
        self.watch_cover();
    }

    /// Whether all that is held has an order at work that closes it.
    fn watch_cover(&mut self) {
        let covered = self.venue.covered(self.price) >= self.venue.position;
        match (covered, self.uncovered_since) {
            (true, Some(since)) => {
                self.longest_uncovered = self.longest_uncovered.max(self.now - since);
                self.uncovered_since = None;
            }
            (false, None) => self.uncovered_since = Some(self.now),
            _ => {}
        }
        if let Some(since) = self.uncovered_since
            && self.now - since > UNPROTECTED_LIMIT
        {
            self.uncovered_since = Some(self.now);
            self.violation("a position was too long without a stop", format!("{} held", self.venue.position));
        }
    }

    fn warm_up(&mut self, process: &mut Option<Process>) {
        let asset: crds::Asset = "BTC-USD".parse().unwrap();
        for bar in -20..=0 {
            let at = bar * ROUND;
            self.now = at;
            let price = 50_000.0;
            let bar = Bar { open: price, high: price + 200.0, low: price - 200.0, close: price, volume: 1.0 };
            self.bars.push((at, bar));
            let kind = EventKind::History { asset: asset.clone(), timeframe: Timeframe::H4, bar };
            if let Some(process) = process {
                let fed = process.receive(kind, self);
                debug_assert!(fed.is_ok(), "nobody dies before anything is rough");
            }
        }
    }

    fn play_round(&mut self, round: i64, process: &mut Option<Process>, bug: Option<Bug>) {
        self.is_rough = true;
        self.venue.is_rough = true;
        self.kills = self.rng.random_range(0..3);
        let boundary = round * ROUND;
        self.now = self.now.max(boundary - BEFORE);
        let second = self.rng.random_range(1..AFTER / 1000);
        self.path = match self.rng.random_range(0..5) {
            0 => Path::Falls(boundary + second * 1000),
            1 => Path::Dips(boundary + second * 1000),
            2 => Path::Rises,
            _ => Path::Calm,
        };
        self.bar_late = if self.rng.random_bool(0.5) { self.rng.random_range(0..10_000) } else { 0 };
        if self.rng.random_bool(0.15) {
            // Just when something is decided.
            self.slow_from = boundary + self.bar_late;
        }
        if self.rng.random_bool(0.15) {
            self.feed_back = boundary + self.rng.random_range(-3_000..60_000);
            self.saw("the feed was silent");
        }
        self.tell(format!("round {round}: {:?}, price {:.2}", self.path, self.price));
        let until = boundary + AFTER;
        self.queue(0, Happening::Tick);
        self.play(process, bug, until, boundary);
    }

    /// The end: everyone behaves, and whatever is open must find its place.
    fn be_quiet(&mut self, process: &mut Option<Process>, bug: Option<Bug>) {
        self.is_rough = false;
        self.venue.is_rough = false;
        self.path = Path::Calm;
        self.tell("everyone behaves from here on".into());
        let until = self.now + QUIET;
        self.queue(0, Happening::Tick);
        self.play(process, bug, until, i64::MIN);
        // An account is read every five minutes, if not before.
        for _ in 0..3 {
            let until = self.now + 8_000;
            self.now += 301_000;
            let until = until + 301_000;
            self.queue(0, Happening::Tick);
            self.play(process, bug, until, i64::MIN);
        }
    }

    fn play(&mut self, process: &mut Option<Process>, bug: Option<Bug>, until: i64, boundary: i64) {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            let lived = match happening {
                Happening::Tick => {
                    let lived = self.tick(process, boundary);
                    // Nobody looks away while something is at risk or on its way.
                    let quiet = process.is_some() && self.uncovered_since.is_none() && self.is_still();
                    if self.now < until || (!quiet && self.now < until + PATIENCE) {
                        self.queue(1_000, Happening::Tick);
                    }
                    lived
                }
                Happening::Command(command) => {
                    let price = self.price;
                    let (now, time) = (self.now, self.time());
                    let said = self.venue.arrive(&command, now, time, price, &mut self.rng);
                    self.said(said);
                    Ok(())
                }
                Happening::Report(incarnation, report) => match process {
                    // A connection does not outlive its process.
                    Some(process) if incarnation == self.incarnation => {
                        self.tell(format!("hears {}", short(&report)));
                        process.receive(EventKind::Venue(report), self)
                    }
                    _ => Ok(()),
                },
                Happening::Commit(incarnation) => match process {
                    Some(process) if incarnation == self.incarnation => {
                        self.commit_planned = false;
                        process.commit(self)
                    }
                    _ => Ok(()),
                },
                Happening::Restart => match Process::start(self, bug) {
                    Ok(mut started) => {
                        self.tell("the process has started again".into());
                        let caught_up = self.catch_up(&mut started);
                        *process = Some(started);
                        caught_up
                    }
                    Err(killed) => Err(killed),
                },
            };
            if lived.is_err() {
                *process = None;
                self.die();
            }
            self.watch_cover();
        }
    }

    /// Nothing is on its way.
    fn is_still(&self) -> bool {
        self.queue.values().all(|happening| matches!(happening, Happening::Commit(_)))
    }

    fn die(&mut self) {
        self.disk.lose_what_was_not_synced();
        self.incarnation += 1;
        self.commit_planned = false;
        let delay = self.rng.random_range(300..5_000);
        self.queue(delay, Happening::Restart);
    }

    /// Bars that came while nobody listened belong to the past.
    fn catch_up(&mut self, process: &mut Process) -> Result<(), Killed> {
        let asset: crds::Asset = "BTC-USD".parse().unwrap();
        let rows = self.disk.rows();
        let known = rows.filter_map(|(event, _)| {
            matches!(event.kind, EventKind::Bar { .. } | EventKind::History { .. }).then_some(event.at)
        });
        let last = known.max();
        self.bar_due = None;
        for (at, bar) in self.bars.clone() {
            if last.is_none_or(|last| self.at(at) > last) {
                let kind = EventKind::History { asset: asset.clone(), timeframe: Timeframe::H4, bar };
                process.receive_at(self.at(at), kind, self)?;
            }
        }
        Ok(())
    }

    fn tick(&mut self, process: &mut Option<Process>, boundary: i64) -> Result<(), Killed> {
        let step: f64 = self.rng.random_range(-4.0..4.0);
        self.price += step;
        match self.path {
            Path::Falls(at) if self.now >= at => {
                self.price *= 0.96;
                self.path = Path::Calm;
                self.tell(format!("the price falls to {:.2}", self.price));
            }
            Path::Dips(at) if self.now >= at => {
                self.price *= 0.96;
                self.path = Path::Rises;
                self.tell(format!("the price dips to {:.2}", self.price));
            }
            Path::Rises if self.now % 3_000 < 1_000 => self.price *= 1.002,
            _ => {}
        }
        let said = self.venue.tick(self.now, self.price, &mut self.rng);
        self.said(said);
        if self.lease && self.chance(0.006) {
            self.lease = false;
            self.lease_back = self.now + self.rng.random_range(5_000..30_000);
            self.saw("the lease was lost");
            self.tell("the lease is lost".into());
            self.tell_of_lease(process, false)?;
        } else if !self.lease && self.now >= self.lease_back {
            self.lease = true;
            self.tell("the lease is held again".into());
            self.tell_of_lease(process, true)?;
        }
        if (boundary..boundary.saturating_add(1_000)).contains(&self.now)
            && self.bars.last().is_none_or(|(at, _)| *at < boundary)
        {
            let (high, low) = (self.open.max(self.price) + 200.0, self.open.min(self.price) - 200.0);
            let bar = Bar { open: self.open, high, low, close: self.price, volume: 1.0 };
            self.open = self.price;
            self.bars.push((boundary, bar));
            self.bar_due = Some(boundary + self.bar_late);
        }
        if self.bar_due.is_some_and(|due| self.now >= due) {
            self.bar_due = None;
            if let (Some(process), Some((end, bar))) = (process.as_mut(), self.bars.last().copied()) {
                if self.now >= end + 1_000 {
                    self.saw("a bar was late");
                }
                let asset = "BTC-USD".parse().unwrap();
                let kind = EventKind::Bar { asset, timeframe: Timeframe::H4, bar };
                process.receive_at(self.at(end), kind, self)?;
            }
        }
        let Some(process) = process else { return Ok(()) };
        if self.now >= self.feed_back {
            self.last_quote = Some(self.now);
            let (bid, ask) = (self.price - 1.0, self.price + 1.0);
            let asset = "BTC-USD".parse().unwrap();
            process.receive(EventKind::Quote { asset, bid, ask, low_bid: bid, high_ask: ask }, self)?;
        }
        process.receive(EventKind::Timer, self)
    }

    fn tell_of_lease(&mut self, process: &mut Option<Process>, held: bool) -> Result<(), Killed> {
        match process {
            Some(process) if !process.ignores_the_lease() => process.receive(EventKind::Lease { held }, self),
            _ => Ok(()),
        }
    }

    /// What must be true when all has come to rest.
    fn judge(&mut self, process: Option<&Process>) {
        let Some(process) = process else {
            return self.violation("the process did not come back", String::new());
        };
        let positions = process.engine.positions();
        let ledger = positions.iter().map(|position| position.quantity).sum::<Decimal>();
        if ledger != self.venue.position {
            self.violation("the ledger is not the venue's", format!("{ledger} for {}", self.venue.position));
        }
        let cash = process.engine.account().cash - Decimal::from(10_000);
        if cash.normalize() != self.venue.cash.normalize() {
            self.violation("the ledger is not the venue's", format!("cash {cash} for {}", self.venue.cash));
        }
        let mut found = Vec::new();
        let state = serde_json::to_value(process.engine.snapshot()).unwrap();
        let mut known = BTreeMap::new();
        for leg in state["assets"][0]["desk"]["legs"].as_array().into_iter().flatten() {
            let exits = leg["exits"].as_array().into_iter().flatten();
            for order in std::iter::once(&leg["entry"]).chain(exits) {
                let id: Id = serde_json::from_value(order["intent"]["id"].clone()).unwrap();
                known.insert(id, order["known"].clone());
            }
        }
        for (id, order) in &self.venue.orders {
            match self.intended.get(id) {
                // An exit may leave before it is durable; then it must be known by now.
                None if order.intent.role == Role::Entry || !known.contains_key(id) => {
                    found
                        .push(("the venue saw an order that nobody intended", format!("{:?}", order.intent)));
                }
                None => {}
                Some(bodies) if bodies.iter().any(|body| *body != order.intent) => {
                    found.push(("an id was intended with two bodies", format!("{bodies:?}")));
                }
                Some(_) => {}
            }
            if order.open && known.get(id).is_none_or(|known| known != "open") {
                found.push((
                    "an order at the venue was forgotten",
                    format!("{id} is {:?} here", known.get(id)),
                ));
            }
        }
        for (id, known) in &known {
            let open = self.venue.orders.get(id).is_some_and(|order| order.open);
            let settled = known != "sent" && known != "unknown" && known != "missing";
            if !settled || (known == "open" && !open) {
                found.push(("an intent was forgotten", format!("{id} is {known} here, open there: {open}")));
            }
        }
        let desk = &state["assets"][0]["desk"];
        if !desk["unread"].is_null() || desk["disputed"] == true || !desk["doubted"].is_null() {
            found.push(("ledger and venue were not reconciled", desk["disputed"].to_string()));
        }
        for (rule, text) in found {
            self.violation(rule, text);
        }
    }
}

impl Venue for World {
    fn send(&mut self, command: &Command) {
        if let Command::Submit(intent) = command {
            self.tell(format!("sends {:?} {} {}", intent.role, intent.quantity, intent.id));
            self.sent.insert(intent.id.clone());
            if let Instruction::Take { expires, .. } = intent.instruction {
                if !self.intended.contains_key(&intent.id) {
                    self.violation("an entry left before it was durable", intent.id.to_string());
                }
                if !self.lease {
                    self.violation("an entry left without the lease", intent.id.to_string());
                }
                if self.time() > expires {
                    self.violation("an entry left after its time", format!("{} at {expires}", intent.id));
                }
            }
        } else {
            self.tell(format!("sends {command:?}"));
        }
        let report = |id: &Id| {
            let report = Report::Order { id: id.clone(), news: News::Unknown };
            VenueReport { venue: command.venue().to_owned(), report }
        };
        if self.is_lost(0) {
            self.saw("a command was lost");
            self.tell("lost on its way".into());
        } else {
            let copies = if self.chance(0.08) { 2 } else { 1 };
            for _ in 0..copies {
                let delay = self.travel();
                self.queue(delay, Happening::Command(command.clone()));
            }
        }
        // The transport gives up waiting, whatever became of the message.
        if let Command::Submit(intent) = command
            && self.chance(0.15)
        {
            self.saw("an outcome was unknown");
            let delay = self.rng.random_range(100..3_000);
            self.queue(delay, Happening::Report(self.incarnation, report(&intent.id)));
        }
    }
}

fn short(report: &VenueReport) -> String {
    match &report.report {
        Report::Order { id, news: News::Status { standing, filled, .. } } => {
            format!("{id} is {standing:?} with {filled} filled")
        }
        Report::Order { id, news } => format!("{id} {news:?}"),
        Report::Account(reading) => format!("{:?}", reading.positions),
    }
}
