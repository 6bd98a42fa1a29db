//! The agent's process: the real engine and outbox, with a journal on a simulated disk.

use std::collections::BTreeSet;

use agent::venue::{Outbox, Venue};
use crds::config::{BotConfig, resolve};
use engine::orders::{Command, Instruction, News, Report, VenueReport};
use engine::panel::{Brief, Panel, Verdict};
use engine::{Action, BotId, Engine, Event, EventKind, Id, Output, RiskGate, Role};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::json;

use crate::bug::Bug;
use crate::venue::NAME;
use crate::world::{Killed, World};

pub fn identity() -> BotId {
    BotId { namespace: "default".into(), name: "majors".into() }
}

fn config() -> BotConfig {
    let data =
        json!([{"pair": "BTC-USD", "timeframe": "4h", "configMaps": [{"name": "bars", "key": "bars.csv"}]}]);
    let spec = json!({
        "assets": [{"pair": "BTC-USD"}],
        "feeds": [{"name": "bars", "replay": {"data": data}}],
        "schedule": {"interval": "1s"},
        "risk": {"maxEntriesPerDay": 1000},
        "exits": {"trail": {"enabled": true}, "breakEven": {"enabled": true}},
    });
    resolve(&spec).unwrap().bot
}

/// Opens whenever it may, and closes at every second bar.
#[derive(Clone, Debug)]
pub struct Trader;

impl Panel for Trader {
    fn deliberate(&self, brief: &Brief) -> Verdict {
        let wanted = if brief.at.as_second() / 14_400 % 2 == 0 { Action::Close } else { Action::OpenLong };
        let open = brief.legal.contains(&Action::OpenLong);
        let action = match (open, wanted) {
            (true, _) => Action::OpenLong,
            (false, Action::Close) => Action::Close,
            (false, _) => Action::Hold,
        };
        Verdict { action, confidence: 90, opinions: vec![], empty_chair: None }
    }
}

pub type Bot = Engine<Trader, RiskGate>;

#[derive(Debug)]
pub struct Process {
    pub engine: Bot,
    outbox: Outbox,
    pending: Vec<(Event, Vec<Output>)>,
    bug: Option<Bug>,
    /// For bugs that need to tell one from the next.
    count: u64,
    /// For the bug that hears no more of these.
    ended: BTreeSet<Id>,
}

impl Process {
    /// Starts from what the disk has, as after any death.
    pub fn start(world: &mut World, bug: Option<Bug>) -> Result<Self, Killed> {
        let engine = match world.disk.snapshot() {
            Some((rows, snapshot)) => recover(world, rows, snapshot),
            None => {
                let engine = Engine::with(identity(), config(), Trader, RiskGate).unwrap();
                let engine = engine.with_answers_by_message(NAME);
                world.disk.keep_snapshot(&engine.snapshot());
                engine
            }
        };
        let mut process = Self {
            engine,
            outbox: Outbox::default(),
            pending: Vec::new(),
            bug,
            count: 0,
            ended: BTreeSet::new(),
        };
        let held = world.lease || bug == Some(Bug::TradesWithoutTheLease);
        process.receive(EventKind::Lease { held }, world)?;
        if bug != Some(Bug::ForgetsToResolve) {
            process.receive(EventKind::Takeover, world)?;
        }
        Ok(process)
    }

    /// Something happened.
    pub fn receive(&mut self, kind: EventKind, world: &mut World) -> Result<(), Killed> {
        self.receive_at(world.time(), kind, world)
    }

    /// Whether it is told of the lease.
    pub fn ignores_the_lease(&self) -> bool {
        self.bug == Some(Bug::TradesWithoutTheLease)
    }

    /// Something happened, or is learnt of late.
    pub fn receive_at(
        &mut self,
        at: Timestamp,
        mut kind: EventKind,
        world: &mut World,
    ) -> Result<(), Killed> {
        if !self.is_heard_as_planted(&mut kind) {
            return Ok(());
        }
        let weight = if matches!(kind, EventKind::Venue(_)) { 40 } else { 1 };
        world.point("before an event is handled", weight)?;
        self.handle(Event { at, kind }, world)?;
        world.point("after an event was handled", weight)?;
        world.plan_commit();
        Ok(())
    }

    fn handle(&mut self, event: Event, world: &mut World) -> Result<(), Killed> {
        let mut outputs = Vec::new();
        self.engine.handle(&event, &mut outputs);
        world.observe(&event, &outputs);
        let at_once = self.outbox.take(&event, &outputs);
        let had_planted = self.believes_cancellations(&at_once, &event);
        self.pending.push((event, outputs));
        for command in at_once {
            self.send(&command, world)?;
        }
        if self.bug == Some(Bug::SendsBeforeTheSync) {
            for command in self.outbox.durable(true, world.time()).send {
                self.send(&command, world)?;
            }
        }
        for report in had_planted {
            self.handle(report, world)?;
        }
        Ok(())
    }

    fn send(&mut self, command: &Command, world: &mut World) -> Result<(), Killed> {
        let command = match (self.bug, command) {
            (Some(Bug::ForgetsToResolve), Command::Resolve { .. }) => return Ok(()),
            (Some(Bug::ForgetsTheStop), Command::Submit(intent)) if intent.role == Role::Protect => {
                return Ok(());
            }
            (Some(Bug::PutsTheStopFarAway), Command::Submit(intent)) => {
                let mut intent = intent.clone();
                if let Instruction::Stop { price } = &mut intent.instruction {
                    *price /= 2.0;
                }
                Command::Submit(intent)
            }
            (Some(Bug::SendsAgainUnderAnotherId), Command::Submit(intent)) => {
                let mut intent = intent.clone();
                if world.was_sent(&intent.id) {
                    self.count += 1;
                    intent.id = serde_json::from_value(json!(format!("again-{}", self.count))).unwrap();
                }
                Command::Submit(intent)
            }
            _ => command.clone(),
        };
        let weight = if matches!(command, Command::Submit(_)) { 60 } else { 20 };
        world.point("before a command is sent", weight)?;
        world.send(&command);
        world.point("after a command was sent", weight)
    }

    /// Makes everything pending durable, then lets go what waited for it.
    pub fn commit(&mut self, world: &mut World) -> Result<(), Killed> {
        while !self.pending.is_empty() {
            let commands = self.pending.iter().flat_map(|(_, outputs)| outputs);
            let weight =
                if commands.clone().any(|output| matches!(output, Output::Command(_))) { 30 } else { 1 };
            world.point("before a write", weight)?;
            for (event, outputs) in &self.pending {
                world.disk.write(event, outputs);
            }
            if world.point("after a write", weight).is_err() {
                // A commit may reach the disk although nobody lives to learn of it.
                if world.chance(0.5) {
                    world.synced(&self.pending);
                }
                return Err(Killed);
            }
            world.synced(&self.pending);
            self.pending.clear();
            world.point("after a sync", weight)?;
            let entries = world.lease || self.bug == Some(Bug::TradesWithoutTheLease);
            let now = if self.bug == Some(Bug::SendsEntriesHoweverLate) {
                Timestamp::UNIX_EPOCH
            } else {
                world.time()
            };
            let released = self.outbox.durable(entries, now);
            for command in released.send {
                self.send(&command, world)?;
            }
            for report in released.withheld {
                world.saw("an entry was withheld");
                self.handle(Event { at: world.time(), kind: EventKind::Venue(report) }, world)?;
            }
        }
        if world.chance(0.02) {
            world.disk.keep_snapshot(&self.engine.snapshot());
        }
        Ok(())
    }

    /// Twists what is heard as the planted bug would have it; says whether it is heard at all.
    fn is_heard_as_planted(&mut self, kind: &mut EventKind) -> bool {
        let EventKind::Venue(VenueReport { report: Report::Order { id, news }, .. }) = kind else {
            return true;
        };
        match self.bug {
            Some(Bug::CountsFillsTwice) => {
                let mut rename = |id: &mut String| {
                    self.count += 1;
                    id.push_str(&format!("-{}", self.count));
                };
                match news {
                    News::Fill(fill) => rename(&mut fill.id),
                    News::Status { fills, .. } => fills.iter_mut().for_each(|fill| rename(&mut fill.id)),
                    _ => {}
                }
            }
            Some(Bug::TakesUnknownForRejected) if *news == News::Unknown => {
                *news = News::Rejected { reason: "it timed out".into() };
            }
            Some(Bug::LosesFillsAfterTheEnd) => match news {
                News::Cancelled { filled } => {
                    *filled = Decimal::ZERO;
                    self.ended.insert(id.clone());
                }
                _ => return !self.ended.contains(id),
            },
            _ => {}
        }
        true
    }

    /// A planted bug: a cancellation counts as done when it is asked for.
    fn believes_cancellations(&self, commands: &[Command], event: &Event) -> Vec<Event> {
        if self.bug != Some(Bug::BelievesCancellations) {
            return Vec::new();
        }
        let cancelled = commands.iter().filter_map(|command| {
            let Command::Cancel { venue, id } = command else { return None };
            let news = News::Cancelled { filled: Decimal::ZERO };
            let report = Report::Order { id: id.clone(), news };
            Some(Event { at: event.at, kind: EventKind::Venue(VenueReport { venue: venue.clone(), report }) })
        });
        cancelled.collect()
    }
}

/// The snapshot, the bars before it, and the tail, which must come out as it came out before.
fn recover(world: &mut World, rows: usize, snapshot: engine::Snapshot) -> Bot {
    let journal: Vec<(Event, Vec<Output>)> = world.disk.rows().collect();
    let is_bar = |event: &Event| matches!(event.kind, EventKind::Bar { .. } | EventKind::History { .. });
    let mut before = journal.iter().take(rows).map(|(event, _)| event.clone());
    let bars: Vec<Event> = before.clone().filter(is_bar).collect();
    let mut engine = Engine::restore_with(identity(), snapshot, bars, Trader, RiskGate).unwrap();
    if let Some(lease) = before.rfind(|event| matches!(event.kind, EventKind::Lease { .. })) {
        engine.handle(&lease, &mut Vec::new());
    }
    for (event, recorded) in journal.iter().skip(rows) {
        let mut outputs = Vec::new();
        engine.handle(event, &mut outputs);
        if outputs != *recorded {
            world.violation("the replay of the journal diverged", format!("at {event:?}"));
        }
    }
    engine
}
