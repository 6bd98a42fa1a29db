//! Orders at a venue that answers by message, told as it happens.

use engine::orders::{Command, Instruction, Intent, News, Reading, Report, Standing, VenueFill, VenueReport};
use engine::{Action, EventKind, ExitReason, Id, OrderRejection, OrderStatus, Output, Role};
use jiff::SignedDuration;
use rust_decimal::Decimal;

use crate::bots::Tape;

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

impl Tape {
    fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.handle(EventKind::Timer);
    }

    fn hear(&mut self, id: &Id, news: News) {
        let report = Report::Order { id: id.clone(), news };
        self.handle(EventKind::Venue(VenueReport { venue: "paper".into(), report }));
    }

    fn fill(&mut self, id: &Id, name: &str, quantity: Decimal) {
        let fill = VenueFill { id: name.into(), quantity, price: dec("50000"), fee: Decimal::ONE };
        self.hear(id, News::Fill(fill));
    }

    fn read(&mut self, position: Decimal, open_orders: &[&Id]) {
        let reading = Reading {
            asked: self.now,
            positions: [("BTC-USD".parse().unwrap(), position)].into(),
            open_orders: open_orders.iter().map(|id| (*id).clone()).collect(),
        };
        self.handle(EventKind::Venue(VenueReport {
            venue: "paper".into(),
            report: Report::Account(reading),
        }));
    }

    /// What was commanded since the last time that this was asked.
    fn commands(&mut self) -> Vec<Command> {
        let outputs = std::mem::take(&mut self.outputs);
        let commands = outputs.into_iter().filter_map(|output| match output {
            Output::Command(command) => Some(command),
            _ => None,
        });
        // What accounts say has tests of its own.
        commands.filter(|command| !matches!(command, Command::Reconcile { .. })).collect()
    }

    fn submitted(&mut self) -> Vec<Intent> {
        let commands = self.commands().into_iter();
        commands
            .filter_map(|command| match command {
                Command::Submit(intent) => Some(intent),
                _ => None,
            })
            .collect()
    }

    fn one_submitted(&mut self) -> Intent {
        let submitted = self.submitted();
        assert_eq!(submitted.len(), 1, "{submitted:?}");
        submitted.into_iter().next().unwrap()
    }

    /// Up to a position whose stop rests: the entry and the stop.
    fn protected(more: &[(&str, Action)]) -> (Self, Intent, Intent) {
        let mut tape = Self::by_message(more);
        let entry = tape.one_submitted();
        tape.fill(&entry.id, "entry", entry.quantity);
        let stop = tape.one_submitted();
        tape.hear(&stop.id, News::Accepted);
        assert_eq!(tape.commands(), []);
        (tape, entry, stop)
    }
}

fn cancel(id: &Id) -> Command {
    Command::Cancel { venue: "paper".into(), id: id.clone() }
}

const CLOSES: &[(&str, Action)] = &[("2020-05-01T16:00:00Z", Action::Close)];

#[test]
fn an_entry_waits_for_the_venue_and_every_fill_gets_its_stop_at_once() {
    let mut tape = Tape::by_message(&[]);
    let entry = tape.one_submitted();
    assert_eq!(
        (entry.role, tape.engine.positions().len(), tape.engine.open_orders().len()),
        (Role::Entry, 0, 1)
    );
    let limit = 50_000.0 * 1.002;
    let expires = tape.now + SignedDuration::from_secs(10);
    assert_eq!(entry.instruction, Instruction::Take { limit, expires });
    tape.hear(&entry.id, News::Accepted);
    let part = dec("0.01");
    tape.fill(&entry.id, "a", part);
    let stop = tape.one_submitted();
    assert_eq!((stop.role, stop.quantity), (Role::Protect, part));
    assert_eq!(stop.instruction, Instruction::Stop { price: 49_210.0 });
    tape.fill(&entry.id, "a", part);
    assert_eq!(tape.commands(), [], "it is the same fill");
    tape.fill(&entry.id, "b", entry.quantity - part);
    let rest = tape.one_submitted();
    assert_eq!((rest.quantity, rest.id != stop.id), (entry.quantity - part, true));
    let positions = tape.engine.positions();
    assert_eq!((positions[0].quantity, tape.engine.open_orders().len()), (entry.quantity.normalize(), 0));
    assert_eq!(tape.engine.entries_today(), 1);
}

#[test]
fn an_unknown_entry_keeps_its_reservation_and_is_asked_about_until_the_venue_proves_that_it_never_came() {
    let mut tape = Tape::by_message(&[]);
    let entry = tape.one_submitted();
    tape.hear(&entry.id, News::Unknown);
    for _ in 0..8 {
        let asked = tape.now;
        let resolve = Command::Resolve { venue: "paper".into(), id: entry.id.clone(), asked };
        assert_eq!(tape.commands(), [resolve]);
        assert_eq!(tape.engine.open_orders().len(), 1);
        tape.hear(&entry.id, News::Missing { asked });
        tape.later(2);
    }
    // The last question was put 16 s after the decision: it has expired, and could not be on its way.
    tape.outputs.clear();
    tape.hear(&entry.id, News::Missing { asked: tape.now });
    let ended = tape.outputs.iter().any(|output| {
        let reason = OrderRejection::NeverArrived;
        matches!(output, Output::Order(order) if order.status == OrderStatus::Rejected { reason })
    });
    assert!(ended && tape.engine.open_orders().is_empty(), "{:?}", tape.outputs);
    // A fill that comes all the same is a fact.
    tape.commands();
    tape.fill(&entry.id, "late", entry.quantity);
    assert_eq!(tape.one_submitted().role, Role::Protect);
}

#[test]
fn closing_cancels_the_stop_awaits_its_end_and_sells_what_the_stop_has_left() {
    let (mut tape, entry, stop) = Tape::protected(CLOSES);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    assert_eq!(tape.commands(), [cancel(&stop.id)]);
    tape.later(1);
    assert_eq!(tape.commands(), [], "it is not sold twice");
    // A part was filled before the cancellation, and the news of it comes later.
    let part = dec("0.01");
    tape.hear(&stop.id, News::Cancelled { filled: part });
    let exit = tape.one_submitted();
    assert_eq!((exit.role, exit.quantity), (Role::Exit, entry.quantity - part));
    assert_eq!(exit.instruction, Instruction::Market);
    tape.fill(&stop.id, "stop", part);
    tape.fill(&exit.id, "exit", entry.quantity - part);
    let trades = tape.trades();
    assert_eq!((trades.len(), trades[0].quantity), (1, entry.quantity.normalize()));
    assert_eq!(trades[0].exit_reason, ExitReason::Panel);
    assert!(tape.engine.positions().is_empty());
}

#[test]
fn a_rejected_exit_brings_the_stop_back_within_five_seconds_under_the_next_id() {
    let (mut tape, _, stop) = Tape::protected(CLOSES);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    tape.hear(&stop.id, News::Cancelled { filled: Decimal::ZERO });
    tape.commands();
    let exit = {
        let position = tape.engine.positions().remove(0);
        Id::order("paper", tape.engine.identity(), &position.asset, position.opened_at, Role::Exit, 0)
    };
    tape.hear(&exit, News::Rejected { reason: "no".into() });
    tape.later(1);
    let again = tape.one_submitted();
    assert_eq!(
        (again.role, again.quantity, again.instruction),
        (Role::Protect, stop.quantity, stop.instruction)
    );
    assert_ne!(again.id, stop.id);
}

#[test]
fn a_stop_that_the_venue_does_not_take_becomes_an_exit() {
    let mut tape = Tape::by_message(&[]);
    let entry = tape.one_submitted();
    tape.fill(&entry.id, "entry", entry.quantity);
    let stop = tape.one_submitted();
    tape.hear(&stop.id, News::Rejected { reason: "no".into() });
    tape.later(1);
    let exit = tape.one_submitted();
    assert_eq!((exit.role, exit.quantity), (Role::Exit, entry.quantity));
}

#[test]
fn a_stop_that_the_price_is_beyond_for_five_seconds_is_given_up() {
    let (mut tape, _, stop) = Tape::protected(&[]);
    tape.quote(1_000, 49_100.0, 49_102.0, 49_100.0, 49_102.0);
    tape.quote(4_000, 49_100.0, 49_102.0, 49_100.0, 49_102.0);
    assert_eq!(tape.commands(), []);
    tape.quote(1_000, 49_100.0, 49_102.0, 49_100.0, 49_102.0);
    assert!(tape.commands().contains(&cancel(&stop.id)));
    tape.hear(&stop.id, News::Cancelled { filled: Decimal::ZERO });
    assert_eq!(tape.one_submitted().role, Role::Exit);
}

#[test]
fn a_stop_that_the_price_touched_and_left_is_asked_about() {
    let (mut tape, _, stop) = Tape::protected(&[]);
    tape.quote(1_000, 49_100.0, 49_102.0, 49_100.0, 49_102.0);
    tape.quote(1_000, 50_000.0, 50_002.0, 50_000.0, 50_002.0);
    tape.later(4);
    let asked = tape.now;
    assert_eq!(tape.commands(), [Command::Resolve { venue: "paper".into(), id: stop.id, asked }]);
}

#[test]
fn after_a_takeover_nothing_but_questions_is_sent_until_all_is_answered_and_the_account_agrees() {
    let mut tape = Tape::by_message(&[]);
    let entry = tape.one_submitted();
    tape.fill(&entry.id, "entry", entry.quantity);
    let stop = tape.one_submitted();
    tape.now += SignedDuration::from_secs(1);
    tape.handle(EventKind::Takeover);
    let began = tape.now;
    for _ in 0..4 {
        let asked: Vec<_> = tape.commands();
        assert!(asked.iter().all(|command| matches!(command, Command::Resolve { .. })), "{asked:?}");
        tape.later(2);
    }
    // The stop rests; the two ids that might have been used next never were.
    let (quantity, price) = (stop.quantity, stop.instruction.stop());
    let (filled, fills) = (Decimal::ZERO, vec![]);
    tape.hear(&stop.id, News::Status { standing: Standing::Open, quantity, stop: price, filled, fills });
    let position = tape.engine.positions().remove(0);
    let id = |role, generation| {
        let cycle = "2020-05-01T12:00:00Z".parse().unwrap();
        Id::order("paper", tape.engine.identity(), &position.asset, cycle, role, generation)
    };
    let (next_stop, exit) = (id(Role::Protect, 1), id(Role::Exit, 0));
    tape.hear(&next_stop, News::Missing { asked: began });
    tape.hear(&exit, News::Missing { asked: tape.now });
    tape.commands();
    tape.later(2);
    let asked = tape.now;
    assert_eq!(
        tape.commands(),
        [Command::Resolve { venue: "paper".into(), id: next_stop.clone(), asked }],
        "that answer was too early: it could still be on its way"
    );
    tape.hear(&next_stop, News::Missing { asked });
    tape.read(entry.quantity, &[&stop.id]);
    tape.later(1);
    assert_eq!(tape.commands(), [], "all is as it was");
}

#[test]
fn an_exit_that_a_dead_process_sent_last_is_found_and_counts() {
    let (mut tape, entry, stop) = Tape::protected(&[]);
    tape.hear(&stop.id, News::Cancelled { filled: Decimal::ZERO });
    tape.commands();
    let position = tape.engine.positions().remove(0);
    let exit = Id::order("paper", tape.engine.identity(), &position.asset, position.opened_at, Role::Exit, 0);
    tape.handle(EventKind::Takeover);
    let fill =
        VenueFill { id: "exit".into(), quantity: entry.quantity, price: dec("49900"), fee: Decimal::ONE };
    tape.hear(
        &exit,
        News::Status {
            standing: Standing::Ended,
            quantity: entry.quantity,
            stop: None,
            filled: entry.quantity,
            fills: vec![fill],
        },
    );
    assert!(tape.engine.positions().is_empty());
    assert_eq!(tape.trades().len(), 1);
}

#[test]
fn a_difference_that_lasts_is_told_and_blocks_entries_until_both_agree() {
    let (mut tape, entry, stop) = Tape::protected(&[]);
    let differences =
        |tape: &Tape| tape.outputs.iter().filter(|output| matches!(output, Output::Discrepancy(_))).count();
    tape.now += SignedDuration::from_secs(1);
    tape.read(Decimal::ZERO, &[&stop.id]);
    assert_eq!(differences(&tape), 0, "a fill may be on its way");
    let status = News::Status {
        standing: Standing::Open,
        quantity: stop.quantity,
        stop: stop.instruction.stop(),
        filled: Decimal::ZERO,
        fills: vec![],
    };
    tape.hear(&stop.id, status);
    tape.later(6);
    tape.read(Decimal::ZERO, &[&stop.id]);
    assert_eq!(differences(&tape), 1);
    tape.later(2);
    tape.read(entry.quantity, &[&stop.id]);
    let state = serde_json::to_value(tape.engine.snapshot()).unwrap();
    assert_eq!(state["assets"][0]["desk"]["disputed"], false);
}

#[test]
fn a_report_is_never_refused_for_being_late_and_a_senseless_one_is() {
    let (mut tape, entry, _) = Tape::protected(&[]);
    let (now, quantity) = (tape.now, tape.engine.positions()[0].quantity);
    tape.now -= SignedDuration::from_secs(3_600);
    tape.outputs.clear();
    tape.fill(&entry.id, "late", dec("0.01"));
    assert_eq!(tape.engine.positions()[0].quantity, quantity + dec("0.01"));
    assert_eq!(tape.engine.market_time(), Some(now));
    tape.outputs.clear();
    tape.fill(&entry.id, "none", Decimal::ZERO);
    assert!(matches!(&tape.outputs[..], [Output::Refused(_)]), "{:?}", tape.outputs);
}
