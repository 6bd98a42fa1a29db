//! The orders of one asset: what is wanted of them against what is known of them.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::message::{Command, Instruction, Intent, News};
use super::tracked::{Change, Known, Tracked};
use super::{
    ASK_EVERY, BREACH_LIMIT, ENTRY_LIFETIME, ENTRY_REACH, LONGEST_WAY, REFUSAL_PAUSE, STOP_STEP_ATR,
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
}

/// An id that a former process may have used and not lived to write down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    id: Id,
    role: Role,
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
    /// The account has not been read since this process took over: nothing is sent but questions.
    pub unread: bool,
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
        self.unread
            || self.doubted.is_some()
            || self.disputed
            || !self.is_settled()
            || self.orders().any(Tracked::is_live)
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
        self.legs.push(Leg { cycle: order.decided_at, plan: plan.clone(), entry, exits: Vec::new() });
        let old = self.legs.len().saturating_sub(REMEMBERED);
        self.legs.drain(..old);
        self.changed = Some(now);
        Command::Submit(intent)
    }

    /// A new process: what the former one knew is asked for again, and what it may have done last.
    pub fn take_over(&mut self, bot: &BotId, asset: &Asset, now: Timestamp) {
        self.orders_mut().for_each(Tracked::forget);
        self.unread = true;
        self.doubted = None;
        self.probes.clear();
        for role in [Role::Protect, Role::Exit] {
            self.probe(bot, asset, role, now);
        }
    }

    fn probe(&mut self, bot: &BotId, asset: &Asset, role: Role, now: Timestamp) {
        if let Some(id) = self.next_id(bot, asset, role) {
            self.probes.push(Probe { id, role, since: now, asked: None });
        }
    }

    /// The id of the next order that closes.
    fn next_id(&self, bot: &BotId, asset: &Asset, role: Role) -> Option<Id> {
        let leg = self.legs.last()?;
        let used = leg.exits.iter().filter(|order| order.intent.role == role).count();
        let generation = u32::try_from(used).unwrap_or(u32::MAX);
        Some(Id::order(&leg.entry.intent.venue, bot, asset, leg.cycle, role, generation))
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
        let change = order.hear(news, now);
        let heard = Heard {
            intent: order.intent.clone(),
            first: first && !change.fills.is_empty(),
            change,
            cycle: leg.cycle,
            plan: leg.plan.clone(),
        };
        self.changed = Some(now);
        if let (Some(ended), role @ (Role::Exit | Role::Protect)) = (heard.change.ended, heard.intent.role) {
            self.way_out_ended(role, ended, now);
        }
        Some(heard)
    }

    /// What a former process had sent last is learnt from the venue.
    fn hear_of_probe(&mut self, bot: &BotId, asset: &Asset, index: usize, news: &News, now: Timestamp) {
        let Some(Probe { id, role, since, .. }) = self.probes.get(index).cloned() else { return };
        match news {
            News::Missing { asked } if asked.duration_since(since) > LONGEST_WAY => {
                self.probes.remove(index);
            }
            News::Status { quantity, stop, .. } => {
                self.probes.remove(index);
                let Some(leg) = self.legs.last_mut() else { return };
                let instruction = stop.map_or(Instruction::Market, |price| Instruction::Stop { price });
                let Intent { venue, side, .. } = leg.entry.intent.clone();
                let asset = asset.clone();
                let intent =
                    Intent { id, at: now, asset, venue, role, side, quantity: *quantity, instruction };
                leg.exits.push(Tracked::new(intent, now));
                let asset = leg.entry.intent.asset.clone();
                self.probe(bot, &asset, role, now);
            }
            // It exists: the answer to the question says everything about it.
            _ => {}
        }
    }

    /// A way out that failed is tried the other way: an exit's position gets its stop back, and a stop
    /// that the venue does not take is replaced by an exit.
    fn way_out_ended(&mut self, role: Role, ended: Known, now: Timestamp) {
        match (role, ended) {
            (Role::Exit, Known::Filled) => {}
            (Role::Exit, _) => {
                self.closing = None;
                self.refused = Some(now);
            }
            (_, Known::Rejected) => {
                self.closing = Some(ExitReason::Stop);
                self.refused = Some(now);
            }
            _ => {}
        }
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
        let rests = |order: &&mut Tracked| order.known == Known::Open;
        for order in self.orders_mut().filter(rests) {
            if all || !open.contains(&order.intent.id) {
                order.known = Known::Unknown;
                order.asked = None;
            }
        }
    }

    /// What has to be said to the venue now. To be asked after every event.
    pub fn next(&mut self, held: &Held<'_>, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        self.ask(now, &mut commands);
        if held.quantity.is_zero() {
            (self.closing, self.breached) = (None, None);
            self.cancel(now, &mut commands, |_| true);
            return commands;
        }
        if self.unread || !self.probes.is_empty() {
            return commands;
        }
        let untold: Decimal = self.exits().map(Tracked::untold).sum();
        let covered: Decimal = self.exits().map(Tracked::remaining).sum();
        let free = held.quantity.saturating_sub(untold).saturating_sub(covered);
        if self.closing.is_some() {
            self.cancel(now, &mut commands, |order| order.intent.role == Role::Protect);
            if !self.exits().any(Tracked::is_live) && free > Decimal::ZERO {
                self.submit(held, Role::Exit, free, Instruction::Market, now, &mut commands);
            }
            return commands;
        }
        if free < Decimal::ZERO {
            // More would be sold than there is: the newest stops make room.
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
        let Some(id) = self.next_id(held.bot, held.asset, role) else { return };
        let Some(leg) = self.legs.last_mut() else { return };
        let Intent { venue, side, .. } = &leg.entry.intent;
        let (venue, side, asset) = (venue.clone(), *side, held.asset.clone());
        let intent = Intent { id, at: now, asset, venue, role, side, quantity, instruction };
        leg.exits.push(Tracked::new(intent.clone(), now));
        self.changed = Some(now);
        commands.push(Command::Submit(intent));
    }
}
