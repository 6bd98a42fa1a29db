//! Orders at a venue that answers by message, told as it happens.

use engine::orders::{Command, Instruction, Intent, News, Reading, Report, Standing, VenueFill, VenueReport};
use engine::{
    Action, Bar, DiscrepancyKind, EventKind, ExitReason, Id, OrderRejection, OrderStatus, Output, Role,
};
use jiff::SignedDuration;
use rust_decimal::Decimal;

use crate::bots::{Tape, config};

pub(crate) fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

impl Tape {
    pub(crate) fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.handle(EventKind::Timer);
    }

    pub(crate) fn hear(&mut self, id: &Id, news: News) {
        let report = Report::Order { id: id.clone(), news };
        self.handle(EventKind::Venue(VenueReport { venue: "paper".into(), report }));
    }

    pub(crate) fn fill(&mut self, id: &Id, name: &str, quantity: Decimal) {
        let fill = VenueFill { id: name.into(), quantity, price: dec("50000"), fee: Decimal::ONE };
        self.hear(id, News::Fill(fill));
    }

    pub(crate) fn read(&mut self, position: Decimal, open_orders: &[&Id]) {
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
    pub(crate) fn commands(&mut self) -> Vec<Command> {
        let outputs = std::mem::take(&mut self.outputs);
        let commands = outputs.into_iter().filter_map(|output| match output {
            Output::Command(command) => Some(command),
            _ => None,
        });
        // What accounts say has tests of its own.
        commands.filter(|command| !matches!(command, Command::Reconcile { .. })).collect()
    }

    pub(crate) fn submitted(&mut self) -> Vec<Intent> {
        let commands = self.commands().into_iter();
        commands
            .filter_map(|command| match command {
                Command::Submit(intent) => Some(intent),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn one_submitted(&mut self) -> Intent {
        let submitted = self.submitted();
        assert_eq!(submitted.len(), 1, "{submitted:?}");
        submitted.into_iter().next().unwrap()
    }

    /// The id of the position's order of that role and generation.
    pub(crate) fn id(&self, role: Role, generation: u32) -> Id {
        let cycle = "2020-05-01T12:00:00Z".parse().unwrap();
        Id::order("paper", self.engine.identity(), &"BTC-USD".parse().unwrap(), cycle, role, generation)
    }

    /// The venue has never seen anything that it is asked about. What is sent meanwhile.
    pub(crate) fn deny_all(&mut self) -> Vec<Command> {
        let commands = self.commands();
        for command in &commands {
            if let Command::Resolve { id, asked, .. } = command {
                self.hear(id, News::Missing { asked: *asked });
            }
        }
        commands.into_iter().filter(|command| !matches!(command, Command::Resolve { .. })).collect()
    }

    pub(crate) fn refusals(&mut self) -> Vec<engine::Refusal> {
        let outputs = std::mem::take(&mut self.outputs);
        let refused = outputs.into_iter().filter_map(|output| match output {
            Output::Refused(refused) => Some(refused.reason),
            _ => None,
        });
        refused.collect()
    }

    /// Up to a position whose stop rests: the entry and the stop.
    pub(crate) fn protected(more: &[(&str, Action)]) -> (Self, Intent, Intent) {
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

pub(crate) const CLOSES: &[(&str, Action)] = &[("2020-05-01T16:00:00Z", Action::Close)];

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

#[test]
fn a_refusal_of_an_order_that_is_there_is_a_question() {
    let (mut tape, _, stop) = Tape::protected(&[]);
    let resolve = |asked| Command::Resolve { venue: "paper".into(), id: stop.id.clone(), asked };
    // A venue that takes no id twice, when a message came twice.
    tape.hear(&stop.id, News::Rejected { reason: "duplicate".into() });
    assert_eq!(tape.commands(), [resolve(tape.now)]);
    tape.hear(&stop.id, News::Rejected { reason: "duplicate".into() });
    assert_eq!(tape.commands(), []);
    tape.later(2);
    assert_eq!(tape.commands(), [resolve(tape.now)]);
}

#[test]
fn a_stop_that_the_venue_ends_by_itself_comes_back_after_a_second() {
    let (mut tape, _, stop) = Tape::protected(&[]);
    tape.hear(&stop.id, News::Cancelled { filled: Decimal::ZERO });
    assert_eq!(tape.commands(), [], "it may end the next one as fast");
    tape.later(1);
    let again = tape.one_submitted();
    assert_eq!((again.role, again.quantity), (Role::Protect, stop.quantity));
}

#[test]
fn an_exit_that_was_filled_in_part_is_followed_by_another_for_the_same_reason() {
    let (mut tape, entry, stop) = Tape::protected(&[]);
    for _ in 0..6 {
        tape.quote(1_000, 49_100.0, 49_102.0, 49_100.0, 49_102.0);
    }
    tape.hear(&stop.id, News::Cancelled { filled: Decimal::ZERO });
    let exit = tape.submitted().pop().unwrap();
    let part = dec("0.01");
    tape.fill(&exit.id, "a", part);
    tape.hear(&exit.id, News::Cancelled { filled: part });
    tape.later(1);
    let next = tape.one_submitted();
    assert_eq!((next.role, next.quantity), (Role::Exit, entry.quantity - part));
    tape.fill(&next.id, "b", next.quantity);
    assert_eq!(tape.trades()[0].exit_reason, ExitReason::Stop);
}

#[test]
fn an_asset_stays_until_everything_about_its_orders_is_known() {
    let mut tape = Tape::by_message(&[]);
    let entry = tape.one_submitted();
    let part = dec("0.01");
    // The end is told before the fill.
    tape.hear(&entry.id, News::Cancelled { filled: part });
    assert_eq!(tape.engine.open_orders().len(), 1, "it is still reserved");
    let without = || EventKind::Configuration(config(&["ETH-USD"], serde_json::json!({})));
    tape.outputs.clear();
    tape.handle(without());
    assert_eq!(tape.refusals(), [engine::Refusal::BadConfiguration]);
    tape.fill(&entry.id, "entry", part);
    assert!(tape.engine.open_orders().is_empty());
    let stop = tape.one_submitted();
    tape.fill(&stop.id, "stop", part);
    assert!(tape.engine.positions().is_empty());
    tape.outputs.clear();
    tape.handle(without());
    assert_eq!(tape.refusals(), []);
}

#[test]
fn an_entry_that_never_left_starts_no_pause() {
    let mut tape = Tape::by_message(&[]);
    let entry = tape.one_submitted();
    let reason = engine::Cancellation::LeaseNotHeld;
    tape.hear(&entry.id, News::Withheld { reason });
    let told = tape.outputs.iter().any(
        |output| matches!(output, Output::Order(order) if order.status == OrderStatus::Cancelled { reason }),
    );
    assert!(told && tape.engine.open_orders().is_empty(), "{:?}", tape.outputs);
    let state = serde_json::to_value(tape.engine.snapshot()).unwrap();
    assert!(state["assets"][0]["stoppedAt"].is_null(), "{state}");
}

#[test]
fn quantities_and_prices_beyond_all_measure_are_refused() {
    let (mut tape, entry, stop) = Tape::protected(&[]);
    let fill = |quantity, price, fee| News::Fill(VenueFill { id: "odd".into(), quantity, price, fee });
    let status = |quantity, filled, stop| {
        let (standing, fills) = (Standing::Open, vec![]);
        News::Status { standing, quantity, stop, filled, fills }
    };
    let (zero, one, most) = (Decimal::ZERO, Decimal::ONE, Decimal::MAX);
    for news in [
        News::Cancelled { filled: most },
        News::Cancelled { filled: -one },
        fill(most, one, zero),
        fill(one, most, zero),
        fill(one, one, most),
        status(most, zero, None),
        status(-one, zero, None),
        status(one, most, None),
        status(one, zero, Some(f64::NAN)),
        status(one, zero, Some(-1.0)),
    ] {
        tape.outputs.clear();
        tape.hear(&stop.id, news.clone());
        assert_eq!(tape.refusals().len(), 1, "{news:?}");
    }
    tape.outputs.clear();
    tape.read(most, &[]);
    assert_eq!(tape.refusals(), [engine::Refusal::BadQuantity]);
    assert_eq!(tape.engine.positions()[0].quantity, entry.quantity.normalize());
}

#[test]
fn live_bars_quotes_and_timers_count_although_time_has_gone_on() {
    let (mut tape, _, stop) = Tape::protected(&[("2020-05-01T16:05:03Z", Action::Close)]);
    let end = "2020-05-01T16:00:00Z".parse().unwrap();
    tape.now = end + SignedDuration::from_secs(3);
    tape.handle(EventKind::Timer);
    // A bar bears its end, and is made after it.
    tape.now = end;
    let bar = Bar { open: 50_000.0, high: 50_100.0, low: 49_900.0, close: 50_000.0, volume: 1.0 };
    let asset = "BTC-USD".parse().unwrap();
    tape.handle(EventKind::Bar { asset, timeframe: crds::Timeframe::H4, bar });
    // So does a clock that was set back tell of time that has passed.
    tape.handle(EventKind::Timer);
    assert_eq!(tape.engine.market_time(), Some(end + SignedDuration::from_secs(3)));
    tape.now = end + SignedDuration::from_secs(302);
    tape.quote(1_000, 50_000.0, 50_002.0, 50_000.0, 50_002.0);
    tape.later(1);
    assert!(tape.commands().contains(&cancel(&stop.id)), "it was decided on");
    tape.now = end + SignedDuration::from_secs(303);
    tape.quote(500, 50_000.0, 50_002.0, 50_000.0, 50_002.0);
    assert_eq!(tape.refusals(), []);
    tape.now = end;
    tape.quote(500, 50_000.0, 50_002.0, 50_000.0, 50_002.0);
    assert_eq!(tape.refusals(), [engine::Refusal::TimeRunsBackwards], "a quote that another overtook");
}

#[test]
fn an_order_that_nobody_knows_is_told_once_and_blocks_entries_while_it_is_there() {
    let (mut tape, entry, stop) = Tape::protected(&[]);
    let stranger = tape.id(Role::Exit, 99);
    let told = |tape: &mut Tape| -> Vec<_> {
        let outputs = std::mem::take(&mut tape.outputs).into_iter();
        let found = outputs.filter_map(|output| match output {
            Output::Discrepancy(found) => Some((found.kind, found.order)),
            _ => None,
        });
        found.collect()
    };
    let disputed = |tape: &Tape| {
        let state = serde_json::to_value(tape.engine.snapshot()).unwrap();
        state["assets"][0]["desk"]["disputed"] == true
    };
    tape.now += SignedDuration::from_secs(1);
    tape.read(entry.quantity, &[&stop.id, &stranger]);
    assert_eq!(told(&mut tape), [(DiscrepancyKind::Order, Some(stranger.clone()))]);
    tape.read(entry.quantity, &[&stop.id, &stranger]);
    assert_eq!((told(&mut tape), disputed(&tape)), (vec![], true));
    tape.read(entry.quantity, &[&stop.id]);
    assert!(!disputed(&tape));
}
