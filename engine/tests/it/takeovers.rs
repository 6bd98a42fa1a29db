//! A process that takes over from one that died at any point, told as it happens.

use engine::orders::{Command, Intent, News, Standing, VenueFill};
use engine::{EventKind, Id, OrderRejection, OrderStatus, Output, Role};
use jiff::SignedDuration;
use rust_decimal::Decimal;

use crate::bots::Tape;
use crate::orders::{CLOSES, dec};

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
    // The stop rests; the ids that might have been used next never were.
    let (quantity, price) = (stop.quantity, stop.instruction.stop());
    let (filled, fills) = (Decimal::ZERO, vec![]);
    tape.hear(&stop.id, News::Status { standing: Standing::Open, quantity, stop: price, filled, fills });
    let next_stop = tape.id(Role::Protect, 1);
    let others = [(Role::Protect, 2), (Role::Protect, 3), (Role::Exit, 0), (Role::Exit, 1), (Role::Exit, 2)];
    tape.hear(&next_stop, News::Missing { asked: began });
    for (role, generation) in others {
        tape.hear(&tape.id(role, generation), News::Missing { asked: tape.now });
    }
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
fn a_stop_that_is_found_after_a_takeover_rests_although_the_fill_before_it_is_not_known_yet() {
    let mut tape = Tape::by_message(&[]);
    let entry = tape.one_submitted();
    tape.handle(EventKind::Takeover);
    let (quantity, stop) = (entry.quantity, Some(49_210.0));
    let (filled, fills) = (Decimal::ZERO, vec![]);
    let status = News::Status { standing: Standing::Open, quantity, stop, filled, fills };
    tape.hear(&tape.id(Role::Protect, 0), status);
    for _ in 0..4 {
        tape.later(2);
        let said = tape.commands();
        assert!(said.iter().all(|command| matches!(command, Command::Resolve { .. })), "{said:?}");
    }
}

/// A position whose exit was sent by a process that died.
fn closing() -> (Tape, Intent, Intent) {
    let (mut tape, entry, stop) = Tape::protected(CLOSES);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    tape.hear(&stop.id, News::Cancelled { filled: Decimal::ZERO });
    let exit = tape.submitted().pop().unwrap();
    assert_eq!(exit.role, Role::Exit);
    tape.now += SignedDuration::from_secs(1);
    tape.handle(EventKind::Takeover);
    (tape, entry, exit)
}

#[test]
fn what_a_dead_process_meant_and_the_venue_never_saw_is_sent_again_once_all_else_is_known() {
    let (mut tape, entry, exit) = closing();
    for _ in 0..5 {
        assert_eq!(tape.deny_all(), [], "others may have followed it");
        tape.later(2);
    }
    assert_eq!(tape.deny_all(), []);
    tape.read(entry.quantity, &[]);
    assert_eq!(tape.submitted(), [exit], "the same body under the same id");
}

#[test]
fn what_a_dead_process_meant_and_the_venue_never_saw_is_dropped_when_another_did_it() {
    let (mut tape, entry, exit) = closing();
    let quantity = entry.quantity;
    let fills = vec![VenueFill { id: "next".into(), quantity, price: dec("49900"), fee: Decimal::ONE }];
    let status = News::Status { standing: Standing::Ended, quantity, stop: None, filled: quantity, fills };
    tape.hear(&tape.id(Role::Exit, 1), status);
    assert!(tape.engine.positions().is_empty());
    for _ in 0..5 {
        tape.deny_all();
        tape.later(2);
    }
    tape.deny_all();
    tape.read(Decimal::ZERO, &[]);
    let reason = OrderRejection::NeverArrived;
    let ended = tape.outputs.iter().any(|output| {
        matches!(output, Output::Order(order)
            if order.id == exit.id && order.status == OrderStatus::Rejected { reason })
    });
    assert!(ended, "{:?}", tape.outputs);
    assert_eq!(tape.submitted(), []);
}

#[test]
fn an_exit_whose_predecessors_the_venue_refused_and_forgot_is_found() {
    let (mut tape, entry, stop) = Tape::protected(&[]);
    tape.handle(EventKind::Takeover);
    let quantity = entry.quantity;
    let fills = vec![VenueFill { id: "third".into(), quantity, price: dec("49900"), fee: Decimal::ONE }];
    let status = News::Status { standing: Standing::Ended, quantity, stop: None, filled: quantity, fills };
    tape.hear(&tape.id(Role::Exit, 2), status);
    assert!(tape.engine.positions().is_empty());
    let next = tape.id(Role::Exit, 3);
    tape.commands();
    tape.later(2);
    let asks = |command: &Command, of: &Id| matches!(command, Command::Resolve { id, .. } if id == of);
    let said = tape.commands();
    assert!(said.iter().any(|command| asks(command, &next)), "{said:?}");
    assert!(said.iter().any(|command| asks(command, &stop.id)), "{said:?}");
}
