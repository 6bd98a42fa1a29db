//! Whatever a venue does and however its reports come, the books are right and no exit is too large.

use std::collections::BTreeMap;

use engine::orders::{Command, Intent, News, Report, Standing, VenueFill, VenueReport};
use engine::{Action, EventKind, Id, Output, Role};
use jiff::SignedDuration;
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::bots::Tape;

/// An order as the venue has it, which is the truth.
struct True {
    intent: Intent,
    open: bool,
    fills: Vec<VenueFill>,
}

impl True {
    fn filled(&self) -> Decimal {
        self.fills.iter().map(|fill| fill.quantity).sum()
    }

    fn remaining(&self) -> Decimal {
        if self.open { self.intent.quantity - self.filled() } else { Decimal::ZERO }
    }

    fn status(&self) -> News {
        News::Status {
            standing: if self.open { Standing::Open } else { Standing::Ended },
            quantity: self.intent.quantity,
            stop: self.intent.instruction.stop(),
            filled: self.filled(),
            fills: self.fills.clone(),
        }
    }
}

#[derive(Default)]
struct Truth {
    orders: BTreeMap<Id, True>,
    under_way: Vec<(Id, News)>,
    fills: usize,
}

impl Truth {
    fn sum(&self, entries: bool) -> Decimal {
        let of_role = |order: &&True| (order.intent.role == Role::Entry) == entries;
        self.orders.values().filter(of_role).map(True::filled).sum()
    }

    fn take(&mut self, command: Command, luck: u8) -> Result<(), TestCaseError> {
        match command {
            Command::Submit(intent) => {
                if let Some(known) = self.orders.get(&intent.id) {
                    prop_assert_eq!(&known.intent, &intent, "an id with another body");
                    self.under_way.push((intent.id.clone(), known.status()));
                    return Ok(());
                }
                let id = intent.id.clone();
                let refused = luck.is_multiple_of(10);
                if intent.role != Role::Entry {
                    let at_work: Decimal = self
                        .orders
                        .values()
                        .filter(|o| o.intent.role != Role::Entry)
                        .map(True::remaining)
                        .sum();
                    let held = self.sum(true) - self.sum(false);
                    prop_assert!(at_work + intent.quantity <= held, "{intent:?} beside {at_work} of {held}");
                }
                self.orders.insert(id.clone(), True { intent, open: !refused, fills: vec![] });
                let news = match luck % 10 {
                    0 => News::Rejected { reason: "no".into() },
                    1 => News::Unknown,
                    _ => News::Accepted,
                };
                self.under_way.push((id, news));
            }
            Command::Cancel { id, .. } => {
                if let Some(order) = self.orders.get_mut(&id) {
                    order.open = false;
                    let filled = order.filled();
                    self.under_way.push((id, News::Cancelled { filled }));
                }
            }
            Command::Resolve { id, asked, .. } => {
                let news = self.orders.get(&id).map_or(News::Missing { asked }, True::status);
                self.under_way.push((id, news));
            }
            Command::Reconcile { .. } => {}
        }
        Ok(())
    }

    /// Fills a part of an order that is open.
    fn fill(&mut self, luck: u8) {
        let open = self.orders.values_mut().filter(|order| order.open);
        let Some(order) = open.max_by_key(|order| order.intent.id.as_str().as_bytes()[0] ^ luck) else {
            return;
        };
        let part =
            (order.remaining() * Decimal::new(i64::from(luck % 4) + 1, 0) / Decimal::from(4)).round_dp(8);
        if part.is_zero() {
            return;
        }
        self.fills += 1;
        let price = Decimal::from(50_000 + i64::from(luck));
        let fill = VenueFill { id: format!("{}", self.fills), quantity: part, price, fee: Decimal::ONE };
        order.fills.push(fill.clone());
        order.open = !order.remaining().is_zero();
        let id = order.intent.id.clone();
        self.under_way.push((id, News::Fill(fill)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_ledger_is_the_sum_of_the_fills_that_were_told(steps in proptest::collection::vec((0u8..8, any::<u8>()), 20..120)) {
        let closes: Vec<(String, Action)> = (0..40)
            .map(|day| (format!("2020-05-{:02}T{:02}:00:00Z", 1 + day / 3, 4 + day % 3 * 8), Action::Close))
            .collect();
        let script: Vec<(&str, Action)> = closes.iter().map(|(at, action)| (at.as_str(), *action)).collect();
        let mut tape = Tape::by_message(&script);
        let mut truth = Truth::default();
        let mut told: BTreeMap<String, (bool, Decimal)> = BTreeMap::new();
        let mut price = 50_000.0;
        for (step, luck) in steps {
            match step {
                // Of what is under way, anything comes next, and may come again.
                0..=3 if !truth.under_way.is_empty() => {
                    let index = usize::from(luck) % truth.under_way.len();
                    let (id, news) = truth.under_way[index].clone();
                    if luck % 5 != 0 {
                        truth.under_way.remove(index);
                    }
                    let entry = truth.orders.get(&id).is_some_and(|order| order.intent.role == Role::Entry);
                    let fills = match &news {
                        News::Fill(fill) => vec![fill.clone()],
                        News::Status { fills, .. } => fills.clone(),
                        _ => vec![],
                    };
                    told.extend(fills.into_iter().map(|fill| (fill.id, (entry, fill.quantity))));
                    let report = Report::Order { id, news };
                    tape.handle(EventKind::Venue(VenueReport { venue: "paper".into(), report }));
                }
                4 => truth.fill(luck),
                5 => {
                    price *= 1.0 + (f64::from(luck) - 128.0) / 20_000.0;
                    tape.quote(i64::from(luck) * 20, price, price + 2.0, price, price + 2.0);
                }
                6 if luck < 20 => {
                    let past_boundary = tape.now.as_millisecond() % (4 * 3_600 * 1_000);
                    tape.now -= SignedDuration::from_millis(past_boundary);
                    tape.bar(price, price + 50.0, price - 50.0, price);
                }
                _ => {
                    tape.now += SignedDuration::from_secs(i64::from(luck % 4));
                    tape.handle(EventKind::Timer);
                }
            }
            for output in std::mem::take(&mut tape.outputs) {
                match output {
                    Output::Command(command) => truth.take(command, luck)?,
                    Output::IllegalTransition(_) | Output::Discrepancy(_) => prop_assert!(false, "{output:?}"),
                    _ => {}
                }
            }
            let sum: Decimal =
                told.values().map(|(entry, quantity)| if *entry { *quantity } else { -*quantity }).sum();
            let held: Decimal = tape.engine.positions().iter().map(|position| position.quantity).sum();
            prop_assert_eq!(held, sum);
        }
    }
}
