//! A paper venue that is reached by messages alone and behaves as badly as real ones do.

use std::collections::{BTreeMap, BTreeSet};

use engine::orders::{Command, Instruction, Intent, News, Reading, Report, Standing, VenueFill, VenueReport};
use engine::{Id, Role};
use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use rust_decimal::Decimal;

pub const NAME: &str = "paper";
/// A stop is a stop when it is no further below the price than this.
const NEAR: f64 = 0.85;

/// An order as the venue has it: the first body that came with its id.
#[derive(Clone, Debug)]
pub struct Order {
    pub intent: Intent,
    pub open: bool,
    pub fills: Vec<VenueFill>,
    /// When the next piece of it is filled; a resting stop has none until it is triggered.
    next_fill: Option<i64>,
}

impl Order {
    pub fn filled(&self) -> Decimal {
        self.fills.iter().map(|fill| fill.quantity).sum()
    }

    pub fn remaining(&self) -> Decimal {
        if self.open { self.intent.quantity - self.filled() } else { Decimal::ZERO }
    }
}

/// What the venue did that it must never have been made to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// An id came again with another body.
    OtherBody,
    /// Orders that close add up to more than the position.
    ExitsExceedPosition,
}

/// What comes of a message or of time: reports, and rules that were broken.
#[derive(Debug, Default)]
pub struct Said {
    /// With the least delay in milliseconds.
    pub reports: Vec<(i64, VenueReport)>,
    /// What is never lost: nobody asked for it, and nothing but the next reading of the account would show it.
    pub certain: Vec<VenueReport>,
    pub breaches: Vec<(Breach, String)>,
    pub seen: Vec<&'static str>,
}

impl Said {
    fn order(&mut self, delay: i64, id: &Id, news: News) {
        let report = Report::Order { id: id.clone(), news };
        self.reports.push((delay, VenueReport { venue: NAME.into(), report }));
    }
}

#[derive(Debug, Default)]
pub struct PaperVenue {
    pub orders: BTreeMap<Id, Order>,
    /// Units of the base.
    pub position: Decimal,
    /// What was received less what was paid, fees included.
    pub cash: Decimal,
    fills: u64,
    /// Ids that it refused and remembers as nothing else: it does not take them any more.
    refused: BTreeSet<Id>,
    /// Whether it misbehaves.
    pub is_rough: bool,
}

impl PaperVenue {
    /// Units that orders at work may still sell.
    pub fn working_exits(&self) -> Decimal {
        self.exits().map(Order::remaining).sum()
    }

    /// Units that are sold now, or when the price falls to something near.
    pub fn covered(&self, price: f64) -> Decimal {
        let near = |order: &&Order| order.intent.instruction.stop().is_none_or(|stop| stop > price * NEAR);
        self.exits().filter(near).map(Order::remaining).sum()
    }

    fn exits(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(|order| order.intent.role != Role::Entry)
    }

    pub fn arrive(
        &mut self,
        command: &Command,
        now: i64,
        at: Timestamp,
        price: f64,
        rng: &mut StdRng,
    ) -> Said {
        let mut said = Said::default();
        match command {
            Command::Submit(intent) => self.submit(intent, now, at, price, rng, &mut said),
            Command::Cancel { id, .. } => self.cancel(id, price, rng, &mut said),
            Command::Resolve { id, asked, .. } => {
                let news = self.orders.get(id).map_or(News::Missing { asked: *asked }, status);
                said.order(0, id, news);
            }
            Command::Reconcile { asked, .. } => {
                let asset = "BTC-USD".parse().unwrap();
                let open = self.orders.values().filter(|order| order.open);
                let reading = Reading {
                    asked: *asked,
                    positions: BTreeMap::from([(asset, self.position)]),
                    open_orders: open.map(|order| order.intent.id.clone()).collect(),
                };
                let report = Report::Account(reading);
                said.reports.push((0, VenueReport { venue: NAME.into(), report }));
            }
        }
        said
    }

    fn submit(
        &mut self,
        intent: &Intent,
        now: i64,
        at: Timestamp,
        price: f64,
        rng: &mut StdRng,
        said: &mut Said,
    ) {
        let id = &intent.id;
        if let Some(order) = self.orders.get(id) {
            if order.intent != *intent {
                said.breaches.push((Breach::OtherBody, format!("{:?} is not {intent:?}", order.intent)));
            }
            said.seen.push("an order came twice");
            // Some answer with what they have, and some refuse the id: nobody knows from that what became of it.
            let refuses = self.is_rough && rng.random_bool(0.3);
            let news = if refuses { News::Unknown } else { status(order) };
            return said.order(0, id, news);
        }
        if self.refused.contains(id) {
            return said.order(0, id, refusal());
        }
        let mut order = Order { intent: intent.clone(), open: true, fills: Vec::new(), next_fill: None };
        if intent.role != Role::Entry && self.working_exits() + intent.quantity > self.position {
            let text = format!(
                "{} of {} beside {} at work, with {} held",
                intent.quantity,
                id,
                self.working_exits(),
                self.position
            );
            said.breaches.push((Breach::ExitsExceedPosition, text));
        }
        let refused = self.is_rough && rng.random_bool(0.08);
        match intent.instruction {
            Instruction::Take { limit, expires } => {
                if at > expires || refused {
                    said.seen.push(if refused { "an entry was rejected" } else { "an entry came too late" });
                    return self.refuse(order, rng, said);
                }
                if price > limit {
                    order.open = false;
                    said.order(0, id, News::Cancelled { filled: Decimal::ZERO });
                } else {
                    order.next_fill = Some(now + if self.is_rough { rng.random_range(0..2_000) } else { 0 });
                }
            }
            Instruction::Market | Instruction::Stop { .. } if refused => {
                said.seen.push("a way out was rejected");
                return self.refuse(order, rng, said);
            }
            Instruction::Market => order.next_fill = Some(now),
            Instruction::Stop { .. } => {}
        }
        if order.open {
            said.order(0, id, News::Accepted);
        }
        self.orders.insert(id.clone(), order);
        self.work(now, price, rng, said);
    }

    fn refuse(&mut self, mut order: Order, rng: &mut StdRng, said: &mut Said) {
        order.open = false;
        let id = order.intent.id.clone();
        said.order(0, &id, refusal());
        // Asked about it later, some have never seen it.
        if self.is_rough && rng.random_bool(0.5) {
            said.seen.push("a refusal was forgotten");
            self.refused.insert(id);
        } else {
            self.orders.insert(id, order);
        }
    }

    fn cancel(&mut self, id: &Id, price: f64, rng: &mut StdRng, said: &mut Said) {
        let Some(order) = self.orders.get(id) else { return };
        if !order.open {
            said.seen.push("a cancellation came after the end");
            return said.order(0, id, status(order));
        }
        // The price may get there first, and the news of it come after the cancellation's.
        if self.is_rough && rng.random_bool(0.25) {
            said.seen.push("a fill and a cancellation raced");
            let part = rng.random_range(1..=4);
            self.fill(id, part, price, 2_500, said);
        }
        let Some(order) = self.orders.get_mut(id) else { return };
        if order.open {
            order.open = false;
            let filled = order.filled();
            said.order(0, id, News::Cancelled { filled });
        }
    }

    /// Time has passed: stops are triggered and pieces are filled.
    pub fn tick(&mut self, now: i64, price: f64, rng: &mut StdRng) -> Said {
        let mut said = Said::default();
        self.work(now, price, rng, &mut said);
        if self.is_rough && rng.random_bool(0.003) {
            let mut open = self.orders.values_mut().filter(|order| order.open && order.next_fill.is_none());
            if let Some(order) = open.next() {
                order.open = false;
                said.seen.push("the venue cancelled by itself");
                let report = Report::Order {
                    id: order.intent.id.clone(),
                    news: News::Cancelled { filled: order.filled() },
                };
                said.certain.push(VenueReport { venue: NAME.into(), report });
            }
        }
        said
    }

    fn work(&mut self, now: i64, price: f64, rng: &mut StdRng, said: &mut Said) {
        for order in self.orders.values_mut().filter(|order| order.open && order.next_fill.is_none()) {
            if order.intent.instruction.stop().is_some_and(|stop| price <= stop) {
                order.next_fill = Some(now);
            }
        }
        let due = |order: &&Order| order.open && order.next_fill.is_some_and(|at| at <= now);
        let ids: Vec<Id> = self.orders.values().filter(due).map(|order| order.intent.id.clone()).collect();
        for id in ids {
            let whole = !self.is_rough || rng.random_bool(0.6);
            let part = if whole { 4 } else { rng.random_range(1..=3) };
            self.fill(&id, part, price, 0, said);
            let Some(order) = self.orders.get_mut(&id) else { continue };
            order.next_fill = Some(now + rng.random_range(1_000..3_000));
            // What does not rest drops the rest, now and then.
            if order.open && order.intent.role != Role::Protect && rng.random_bool(0.6) {
                order.open = false;
                let filled = order.filled();
                said.seen.push("an order was filled in part");
                said.order(0, &id, News::Cancelled { filled });
            }
        }
    }

    /// Fills so many quarters of what remains.
    fn fill(&mut self, id: &Id, quarters: i64, price: f64, delay: i64, said: &mut Said) {
        let Some(order) = self.orders.get_mut(id) else { return };
        let part = (order.remaining() * Decimal::from(quarters) / Decimal::from(4)).round_dp(8);
        let quantity = if quarters == 4 { order.remaining() } else { part };
        if quantity.is_zero() {
            return;
        }
        let price: Decimal = format!("{price:.2}").parse().unwrap();
        let fee = quantity * price * Decimal::new(6, 4);
        self.fills += 1;
        let fill = VenueFill { id: format!("fill-{}", self.fills), quantity, price, fee };
        let signed = if order.intent.buys() { quantity } else { -quantity };
        self.position += signed;
        self.cash -= signed * price + fee;
        order.fills.push(fill.clone());
        if order.remaining().is_zero() {
            order.open = false;
        }
        said.order(delay, id, News::Fill(fill));
    }
}

fn refusal() -> News {
    News::Rejected { reason: "the venue says no".into() }
}

fn status(order: &Order) -> News {
    News::Status {
        standing: if order.open { Standing::Open } else { Standing::Ended },
        quantity: order.intent.quantity,
        stop: order.intent.instruction.stop(),
        filled: order.filled(),
        fills: order.fills.clone(),
    }
}
