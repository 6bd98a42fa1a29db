//! When a command leaves.

use engine::orders::{Command, Instruction, Intent, News, Report, VenueReport};
use engine::{Cancellation, Event, EventKind, Id, Output, Role};
use jiff::Timestamp;

/// Commands on their way from the engine to the venues.
///
/// - An entry leaves when everything that led to it is durable, and only then: a process that dies in
///   between has either not sent it, or finds it in its journal.
/// - So does a protective stop: its price and quantity are a part of its body that must be the same again.
/// - An exit leaves at once, since its body rests on durable state alone; only behind a report that is not
///   durable yet it waits for that report.
/// - Questions and cancellations leave at once. They say nothing but an id.
/// - When the journal cannot be written, all but entries leave.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Vec<Command>,
    /// A report was handled that is not durable.
    reported: bool,
}

/// What may leave now that the journal has it, and what may not any more.
#[derive(Debug, Default, PartialEq)]
pub struct Released {
    /// To be sent, in this order.
    pub send: Vec<Command>,
    /// Entries that were never sent, as reports for the engine.
    pub withheld: Vec<VenueReport>,
}

impl Outbox {
    /// Takes what an event led to, and gives what leaves at once.
    pub fn take(&mut self, event: &Event, outputs: &[Output]) -> Vec<Command> {
        self.reported |= matches!(event.kind, EventKind::Venue(_) | EventKind::Takeover);
        let mut at_once = Vec::new();
        for output in outputs {
            let Output::Command(command) = output else { continue };
            let waits = match command {
                Command::Submit(intent) => intent.role != Role::Exit || self.reported,
                // A question must not overtake what it is about.
                Command::Cancel { id, .. } | Command::Resolve { id, .. } => self.is_waiting(id),
                Command::Reconcile { .. } => false,
            };
            let queue = if waits { &mut self.waiting } else { &mut at_once };
            queue.push(command.clone());
        }
        at_once
    }

    fn is_waiting(&self, id: &Id) -> bool {
        self.waiting.iter().any(|command| matches!(command, Command::Submit(intent) if intent.id == *id))
    }

    /// Everything taken so far is durable. `entries` says whether positions may be opened at this very
    /// moment, `now` is market time.
    pub fn durable(&mut self, entries: bool, now: Timestamp) -> Released {
        self.reported = false;
        let mut released = Released::default();
        for command in self.waiting.drain(..) {
            let reason = match &command {
                Command::Submit(intent) if intent.role == Role::Entry => refusal(intent, entries, now),
                _ => None,
            };
            match (reason, command) {
                (Some(reason), Command::Submit(Intent { id, venue, .. })) => {
                    let news = News::Withheld { reason };
                    released.withheld.push(VenueReport { venue, report: Report::Order { id, news } });
                }
                (_, command) => released.send.push(command),
            }
        }
        released
    }

    /// The journal cannot be written: whatever closes or asks leaves all the same.
    pub fn failing(&mut self) -> Vec<Command> {
        let entry =
            |command: &Command| matches!(command, Command::Submit(intent) if intent.role == Role::Entry);
        let (entries, others) = self.waiting.drain(..).partition(entry);
        self.waiting = entries;
        others
    }
}

/// Why an entry does not leave. It was never sent, so that this is proof.
fn refusal(intent: &Intent, entries: bool, now: Timestamp) -> Option<Cancellation> {
    let late = matches!(intent.instruction, Instruction::Take { expires, .. } if now > expires);
    if !entries {
        Some(Cancellation::LeaseNotHeld)
    } else if late {
        Some(Cancellation::StaleDecision)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{BotId, Side};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn submit(role: Role) -> Command {
        let bot = BotId { namespace: "default".into(), name: "majors".into() };
        let asset: crds::Asset = "BTC-USD".parse().unwrap();
        let instruction = match role {
            Role::Entry => Instruction::Take { limit: 50_100.0, expires: at(10) },
            Role::Protect => Instruction::Stop { price: 49_000.0 },
            Role::Exit => Instruction::Market,
        };
        Command::Submit(Intent {
            id: Id::order("venue", &bot, &asset, at(0), role, 0),
            at: at(0),
            asset,
            venue: "venue".into(),
            role,
            side: Side::Long,
            quantity: 1.into(),
            instruction,
        })
    }

    fn id(command: &Command) -> Id {
        match command {
            Command::Submit(intent) => intent.id.clone(),
            _ => panic!("{command:?}"),
        }
    }

    fn timer() -> Event {
        Event { at: at(0), kind: EventKind::Timer }
    }

    fn report() -> Event {
        let report = Report::Order { id: id(&submit(Role::Protect)), news: News::Accepted };
        Event { at: at(0), kind: EventKind::Venue(VenueReport { venue: "venue".into(), report }) }
    }

    fn take(outbox: &mut Outbox, event: Event, command: &Command) -> usize {
        outbox.take(&event, &[Output::Command(command.clone())]).len()
    }

    #[test]
    fn entries_and_stops_wait_for_the_journal_and_exits_do_not() {
        let mut outbox = Outbox::default();
        for (role, at_once) in [(Role::Entry, 0), (Role::Protect, 0), (Role::Exit, 1)] {
            assert_eq!(take(&mut outbox, timer(), &submit(role)), at_once, "{role:?}");
        }
        let released = outbox.durable(true, at(1));
        assert_eq!(released.send, [submit(Role::Entry), submit(Role::Protect)]);
        assert_eq!(outbox.durable(true, at(1)), Released::default(), "once");
    }

    #[test]
    fn an_exit_waits_for_the_report_that_it_rests_on() {
        let mut outbox = Outbox::default();
        assert_eq!(take(&mut outbox, report(), &submit(Role::Exit)), 0);
        assert_eq!(outbox.durable(true, at(1)).send, [submit(Role::Exit)]);
        assert_eq!(take(&mut outbox, timer(), &submit(Role::Exit)), 1, "the report is durable by now");
    }

    #[test]
    fn a_cancellation_leaves_at_once_unless_its_order_is_still_here() {
        let mut outbox = Outbox::default();
        let protect = submit(Role::Protect);
        let cancel = Command::Cancel { venue: "venue".into(), id: id(&protect) };
        assert_eq!(take(&mut outbox, timer(), &cancel), 1);
        take(&mut outbox, timer(), &protect);
        assert_eq!(take(&mut outbox, timer(), &cancel), 0);
        assert_eq!(outbox.durable(true, at(1)).send, [protect, cancel]);
    }

    #[test]
    fn an_entry_without_the_lease_or_too_late_is_never_sent_and_the_engine_hears_so() {
        for (entries, now, why) in
            [(false, at(1), Cancellation::LeaseNotHeld), (true, at(11), Cancellation::StaleDecision)]
        {
            let mut outbox = Outbox::default();
            take(&mut outbox, timer(), &submit(Role::Entry));
            let Released { send, withheld } = outbox.durable(entries, now);
            assert!(send.is_empty());
            let [VenueReport { report: Report::Order { news: News::Withheld { reason }, .. }, .. }] =
                &withheld[..]
            else {
                panic!("{withheld:?}")
            };
            assert_eq!(*reason, why);
        }
    }

    #[test]
    fn a_journal_that_fails_holds_back_entries_alone() {
        let mut outbox = Outbox::default();
        for role in [Role::Entry, Role::Protect] {
            take(&mut outbox, timer(), &submit(role));
        }
        take(&mut outbox, report(), &submit(Role::Exit));
        assert_eq!(outbox.failing(), [submit(Role::Protect), submit(Role::Exit)]);
        assert_eq!(outbox.durable(true, at(1)).send, [submit(Role::Entry)]);
    }
}
