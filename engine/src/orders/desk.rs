//! The orders of one asset: what is wanted of them against what is known of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::message::{Command, Instruction, Intent, News};
use super::tracked::{Change, Known, Tracked};
use super::{
    ASK_EVERY, BREACH_LIMIT, ENTRY_LIFETIME, ENTRY_REACH, LONGEST_WAY, PROBED_AHEAD, REFUSAL_PAUSE,
    STOP_STEP_ATR,
};
use crate::id::Id;
use crate::output::{ExitReason, Order, Role};
use crate::risk::Plan;
use crate::view::BotId;
use crds::Asset;

/// Entries whose orders are remembered: a fill of an older one is found by reading the account.
const REMEMBERED: usize = 8;

/// Everything that one entry led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leg {
    /// Market time of the cycle that decided: part of the ids of its orders.
    cycle: Timestamp,
    plan: Plan,
    entry: Tracked,
    /// In the order in which they were meant.
    exits: Vec<Tracked>,
    /// The generation of the next order that closes. A former process may have used some that no venue knows.
    next: BTreeMap<Role, u32>,
}

impl Leg {
    fn generation(&self, role: Role) -> u32 {
        self.next.get(&role).copied().unwrap_or(0)
    }

    fn used(&mut self, role: Role, generation: u32) {
        let next = generation.saturating_add(1).max(self.generation(role));
        self.next.insert(role, next);
    }

    fn id(&self, bot: &BotId, asset: &Asset, role: Role, generation: u32) -> Id {
        Id::order(&self.entry.intent.venue, bot, asset, self.cycle, role, generation)
    }
}

/// An id that a former process may have used and not lived to write down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    id: Id,
    role: Role,
    generation: u32,
    since: Timestamp,
    asked: Option<Timestamp>,
}

/// The orders of one asset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Desk {
    /// The newest last; it owns whatever is held.
    legs: Vec<Leg>,
    probes: Vec<Probe>,
    /// Why the position is to be closed, when it is.
    pub closing: Option<ExitReason>,
    /// When the price went beyond the stop, of late, and whether it still is.
    breached: Option<(Timestamp, bool)>,
    /// When the venue last refused an order that closes.
    refused: Option<Timestamp>,
    /// When an order was last sent or heard of.
    pub changed: Option<Timestamp>,
    /// When this process took over, until the account was read: nothing is sent but questions.
    pub unread: Option<Timestamp>,
    /// Since when the venue's position is not the ledger's.
    pub doubted: Option<Timestamp>,
    /// The difference stayed: nothing opens until the two agree again.
    pub disputed: bool,
}

/// What the desk works for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    pub bot: &'a BotId,
    pub asset: &'a Asset,
    /// Units by the ledger; zero when flat.
    pub quantity: Decimal,
    /// Where the stop of the position should be.
    pub stop: Option<f64>,
    pub atr: Option<f64>,
}

/// A report's change, and the order that it is about.
pub(crate) struct Heard {
    pub intent: Intent,
    pub change: Change,
    pub cycle: Timestamp,
    pub plan: Plan,
    /// It is the first fill of an entry.
    pub first: bool,
    /// Nothing more is to be heard of the order: it ended, and its fills were told.
    pub done: bool,
}

/// What the end of an order that closes is judged by.
struct Ended {
    role: Role,
    /// Nobody here wanted to cancel it.
    unasked: bool,
    in_part: bool,
}

impl Desk {
    /// Whether there is nothing to remember, as at an asset whose venue fills within the call.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn orders(&self) -> impl Iterator<Item = &Tracked> {
        self.legs.iter().flat_map(|leg| std::iter::once(&leg.entry).chain(&leg.exits))
    }

    fn orders_mut(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.legs.iter_mut().flat_map(|leg| std::iter::once(&mut leg.entry).chain(&mut leg.exits))
    }

    fn exits(&self) -> impl Iterator<Item = &Tracked> {
        self.legs.iter().flat_map(|leg| &leg.exits)
    }

    /// Whether everything about the orders is known, but for the fills of stops that rest.
    pub fn is_settled(&self) -> bool {
        self.probes.is_empty() && self.orders().all(Tracked::is_settled)
    }

    /// Whether an entry has to wait: an order has not ended or is not known in full, or ledger and venue
    /// differ or have not been compared.
    pub fn blocks_entries(&self) -> bool {
        self.unread.is_some()
            || self.doubted.is_some()
            || self.disputed
            || !self.is_settled()
            || self.orders().any(Tracked::is_live)
    }

    /// The venue at which an order is at work or not known in full.
    pub fn venue_at_work(&self) -> Option<&str> {
        let works = !self.is_settled() || self.orders().any(Tracked::is_live);
        self.legs.last().filter(|_| works).map(|leg| leg.entry.intent.venue.as_str())
    }

    /// Whether the order is one of this desk.
    pub fn knows(&self, id: &Id) -> bool {
        self.orders().any(|order| order.intent.id == *id) || self.probes.iter().any(|probe| probe.id == *id)
    }

    /// Takes an approved entry.
    pub fn enter(&mut self, order: &Order, plan: &Plan, now: Timestamp) -> Command {
        let reach = 1.0 + ENTRY_REACH * order.side.sign();
        let instruction = Instruction::Take { limit: plan.price * reach, expires: now + ENTRY_LIFETIME };
        let intent = Intent {
            id: order.id.clone(),
            at: now,
            asset: order.asset.clone(),
            venue: order.venue.clone(),
            role: order.role,
            side: order.side,
            quantity: order.quantity,
            instruction,
        };
        let entry = Tracked::new(intent.clone(), now);
        let (cycle, plan) = (order.decided_at, plan.clone());
        self.legs.push(Leg { cycle, plan, entry, exits: Vec::new(), next: BTreeMap::new() });
        let old = self.legs.len().saturating_sub(REMEMBERED);
        self.legs.drain(..old);
        self.changed = Some(now);
        Command::Submit(intent)
    }

    /// A new process: what the former one knew is asked for again, and what it may have done last.
    pub fn take_over(&mut self, bot: &BotId, asset: &Asset, now: Timestamp) {
        self.orders_mut().for_each(Tracked::forget);
        self.unread = Some(now);
        self.doubted = None;
        self.probes.clear();
        for role in [Role::Protect, Role::Exit] {
            self.probe(bot, asset, role, now);
        }
    }

    /// Asks about the ids that come next. Several: of one that the venue refused it may know nothing.
    fn probe(&mut self, bot: &BotId, asset: &Asset, role: Role, now: Timestamp) {
        let Some(leg) = self.legs.last() else { return };
        let first = leg.generation(role);
        for generation in first..first.saturating_add(PROBED_AHEAD) {
            if !self.probes.iter().any(|probe| (probe.role, probe.generation) == (role, generation)) {
                let id = leg.id(bot, asset, role, generation);
                self.probes.push(Probe { id, role, generation, since: now, asked: None });
            }
        }
    }

    /// Takes a report about an order of this desk.
    pub fn hear(
        &mut self,
        bot: &BotId,
        asset: &Asset,
        id: &Id,
        news: &News,
        now: Timestamp,
    ) -> Option<Heard> {
        if let Some(index) = self.probes.iter().position(|probe| probe.id == *id) {
            self.hear_of_probe(bot, asset, index, news, now);
        }
        let leg = self
            .legs
            .iter_mut()
            .find(|leg| leg.entry.intent.id == *id || leg.exits.iter().any(|order| order.intent.id == *id))?;
        let order =
            std::iter::once(&mut leg.entry).chain(&mut leg.exits).find(|order| order.intent.id == *id)?;
        let first = order.fills.is_empty();
        let mut change = order.hear(news, now);
        if let (true, Some(since), News::Missing { asked }) = (change.again, self.unread, news) {
            // Others may have followed it, so that it would be too much now. What left right before the
            // takeover may still arrive.
            change.again = false;
            let arrives = asked.duration_since(since) <= LONGEST_WAY;
            order.known = if arrives { Known::Unknown } else { Known::Missing };
        }
        let ended = Ended {
            role: order.intent.role,
            unasked: order.cancelled_at.is_none(),
            in_part: order.filled().max(order.stated) > Decimal::ZERO,
        };
        let heard = Heard {
            intent: order.intent.clone(),
            first: first && !change.fills.is_empty(),
            done: !order.is_live() && order.untold().is_zero(),
            change,
            cycle: leg.cycle,
            plan: leg.plan.clone(),
        };
        self.changed = Some(now);
        if let Some(known) = heard.change.ended {
            self.way_out_ended(&ended, known, now);
        }
        Some(heard)
    }

    /// What a former process had sent last is learnt from the venue.
    fn hear_of_probe(&mut self, bot: &BotId, asset: &Asset, index: usize, news: &News, now: Timestamp) {
        let Some(Probe { id, role, generation, since, .. }) = self.probes.get(index).cloned() else { return };
        match news {
            News::Missing { asked } if asked.duration_since(since) > LONGEST_WAY => {
                self.probes.remove(index);
            }
            News::Status { quantity, stop, .. } => {
                self.probes.remove(index);
                let Some(leg) = self.legs.last_mut() else { return };
                let instruction = stop.map_or(Instruction::Market, |price| Instruction::Stop { price });
                let Intent { venue, side, .. } = leg.entry.intent.clone();
                let (at, quantity) = (now, *quantity);
                let found = Intent { id, at, asset: asset.clone(), venue, role, side, quantity, instruction };
                leg.exits.push(Tracked::new(found, now));
                leg.used(role, generation);
                self.probe(bot, asset, role, now);
            }
            // It exists: the answer to the question says everything about it.
            _ => {}
        }
    }

    /// A way out that failed is tried the other way: an exit's position gets its stop back, and a stop
    /// that the venue does not take is replaced by an exit.
    fn way_out_ended(&mut self, order: &Ended, known: Known, now: Timestamp) {
        match (order.role, known) {
            (Role::Entry, _) | (Role::Exit, Known::Filled) => {}
            (Role::Exit, _) => {
                // One that did a part of it is followed by the next, for the same reason.
                if !order.in_part {
                    self.closing = None;
                }
                self.refused = Some(now);
            }
            (Role::Protect, Known::Rejected) => {
                self.closing = Some(ExitReason::Stop);
                self.refused = Some(now);
            }
            // A venue that ends it by its own rules may do the same to the next.
            (Role::Protect, Known::Cancelled) if order.unasked => self.refused = Some(now),
            (Role::Protect, _) => {}
        }
    }

    /// Ends what a former process meant, the venue has never seen, and does not fit any more.
    pub fn drop_missing(&mut self, held: &Held<'_>) -> Vec<Intent> {
        let mut gone = Vec::new();
        if self.unread.is_some() || !self.probes.is_empty() {
            return gone;
        }
        let mut free = self.free(held);
        let closes = self.closing.is_some();
        let exits = self.legs.iter_mut().flat_map(|leg| &mut leg.exits);
        for order in exits.filter(|order| order.known == Known::Missing) {
            let overtaken = closes && order.intent.role == Role::Protect;
            if held.quantity.is_zero() || free < Decimal::ZERO || overtaken {
                free = free.saturating_add(order.remaining());
                order.known = Known::NeverArrived;
                gone.push(order.intent.clone());
            }
        }
        gone
    }

    /// What is held, less what was filled and not told and what may still be filled.
    fn free(&self, held: &Held<'_>) -> Decimal {
        let spoken_for = |order: &Tracked| order.untold().saturating_add(order.remaining());
        self.exits().fold(held.quantity, |free, order| free.saturating_sub(spoken_for(order)))
    }

    /// Takes note of whether the price is beyond the stop.
    pub fn watch(&mut self, beyond: bool, now: Timestamp) {
        self.breached = match self.breached {
            Some((since, _)) => Some((since, beyond)),
            None => beyond.then_some((now, true)),
        };
    }

    /// Gives up a stop that should have been filled by now. Where the price has come back in the meantime
    /// it is asked about: the news of its fill may have been lost.
    pub fn judge_breach(&mut self, by: ExitReason, now: Timestamp) {
        let Some((since, beyond)) = self.breached else { return };
        if now.duration_since(since) < BREACH_LIMIT {
            return;
        }
        self.breached = None;
        self.doubt_open_orders(&[], true);
        if beyond {
            self.closing.get_or_insert(by);
        }
    }

    /// Everything known of the orders that rest is in doubt: they are asked about.
    pub fn doubt_open_orders(&mut self, open: &[Id], all: bool) {
        for order in self.orders_mut() {
            let listed = open.contains(&order.intent.id);
            match order.known {
                Known::Open if all || !listed => order.doubt(),
                Known::Missing if listed => order.doubt(),
                _ => {}
            }
        }
    }

    /// What has to be said to the venue now. To be asked after every event.
    pub fn next(&mut self, held: &Held<'_>, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        self.ask(now, &mut commands);
        if self.unread.is_some() || !self.probes.is_empty() {
            return commands;
        }
        if held.quantity.is_zero() {
            (self.closing, self.breached) = (None, None);
            self.cancel(now, &mut commands, |_| true);
            return commands;
        }
        self.send_missing(now, &mut commands);
        let free = self.free(held);
        if self.closing.is_some() {
            self.cancel(now, &mut commands, |order| order.intent.role == Role::Protect);
            if !self.exits().any(Tracked::is_live) && free > Decimal::ZERO {
                self.submit(held, Role::Exit, free, Instruction::Market, now, &mut commands);
            }
            return commands;
        }
        if free < Decimal::ZERO {
            // More would be sold than there is: the stops go, and come back with what is held.
            self.cancel(now, &mut commands, |order| order.intent.role == Role::Protect);
        } else if free > Decimal::ZERO
            && let Some(price) = held.stop
        {
            self.submit(held, Role::Protect, free, Instruction::Stop { price }, now, &mut commands);
        } else if let (Some(stop), Some(atr)) = (held.stop, held.atr) {
            let far = |at: f64| (stop - at).abs() >= STOP_STEP_ATR * atr && stop != at;
            self.cancel(now, &mut commands, |order| order.intent.instruction.stop().is_some_and(far));
        }
        commands
    }

    /// Questions about what is not known.
    fn ask(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        for order in self.orders_mut() {
            if order.is_asked_about(now) {
                let (venue, id) = (order.intent.venue.clone(), order.intent.id.clone());
                commands.push(Command::Resolve { venue, id, asked: now });
            }
        }
        let Some(venue) = self.legs.last().map(|leg| leg.entry.intent.venue.clone()) else { return };
        for probe in &mut self.probes {
            if probe.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_EVERY) {
                probe.asked = Some(now);
                commands.push(Command::Resolve { venue: venue.clone(), id: probe.id.clone(), asked: now });
            }
        }
    }

    /// What the venue has never seen goes out again, with the same body.
    fn send_missing(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        for order in self.orders_mut().filter(|order| order.known == Known::Missing) {
            order.known = Known::Sent;
            order.since = now;
            commands.push(Command::Submit(order.intent.clone()));
        }
    }

    fn cancel(&mut self, now: Timestamp, commands: &mut Vec<Command>, which: impl Fn(&Tracked) -> bool) {
        let exits = self.legs.iter_mut().flat_map(|leg| &mut leg.exits);
        for order in exits.filter(|order| which(order)) {
            if order.is_cancelled_now(now) {
                let (venue, id) = (order.intent.venue.clone(), order.intent.id.clone());
                commands.push(Command::Cancel { venue, id });
            }
        }
    }

    fn submit(
        &mut self,
        held: &Held<'_>,
        role: Role,
        quantity: Decimal,
        instruction: Instruction,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        if self.refused.is_some_and(|at| now.duration_since(at) < REFUSAL_PAUSE) {
            return;
        }
        let Some(leg) = self.legs.last_mut() else { return };
        let generation = leg.generation(role);
        let id = leg.id(held.bot, held.asset, role, generation);
        leg.used(role, generation);
        let Intent { venue, side, .. } = &leg.entry.intent;
        let (venue, side, asset) = (venue.clone(), *side, held.asset.clone());
        let intent = Intent { id, at: now, asset, venue, role, side, quantity, instruction };
        leg.exits.push(Tracked::new(intent.clone(), now));
        self.changed = Some(now);
        commands.push(Command::Submit(intent));
    }
}
