//! The engine's part: reports become fills and trades, and desks are asked what to say next.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::desk::{Heard, Held};
use super::message::{Command, Intent, News, Report, VenueFill, VenueReport};
use super::tracked::Known;
use crate::asset_state::{OpenPosition, Pending};
use crate::decimal::to_f64;
use crate::engine::Engine;
use crate::exits::Protection;
use crate::output::{
    Cancellation, Discrepancy, DiscrepancyKind, ExitReason, Fill, Order, OrderRejection, OrderStatus, Output,
    Refusal, Refused, Role,
};
use crate::panel::Panel;
use crate::risk::{Gate, Plan};
use crate::snapshot::day_of;

impl<P: Panel, G: Gate> Engine<P, G> {
    /// Whether the asset's venue answers by message.
    pub(crate) fn answers_by_message(&self, index: usize) -> bool {
        let venue = self.state.config.assets.get(index).map(|asset| &asset.venue);
        venue.is_some_and(|venue| self.state.remote.contains_key(venue))
    }

    /// Does what the gatekeeper allowed: sends an entry, or has the position closed.
    pub(crate) fn act(&mut self, index: usize, approved: Pending, now: Timestamp, out: &mut Vec<Output>) {
        let Some(state) = self.state.assets.get_mut(index) else { return };
        let Pending { order, plan } = approved;
        match plan {
            Some(plan) => {
                let command = state.desk.enter(&order, &plan, now);
                out.push(Output::Order(order));
                out.push(Output::Command(command));
            }
            None => {
                // Which order closes, and when, follows from what the venue says of those that rest.
                state.pending = None;
                state.desk.closing.get_or_insert(ExitReason::Panel);
            }
        }
        self.work(index, now, out);
    }

    /// A new process has taken over from one that may have died at any point.
    pub(crate) fn take_over(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let bot = self.identity.clone();
        for (config, state) in self.state.config.assets.iter().zip(&mut self.state.assets) {
            if self.state.remote.contains_key(&config.venue) {
                state.desk.take_over(&bot, &state.asset, now);
            }
        }
        self.state.remote.values_mut().for_each(|remote| remote.asked = None);
        self.work_on_all(now, out);
    }

    /// Has every desk say what it has to say.
    pub(crate) fn work_on_all(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.state.remote.is_empty() {
            return;
        }
        for index in 0..self.state.assets.len() {
            self.work(index, now, out);
        }
        self.ask_for_readings(now, out);
    }

    /// Has an asset's desk say what it has to say.
    pub(crate) fn work(&mut self, index: usize, now: Timestamp, out: &mut Vec<Output>) {
        if !self.answers_by_message(index) {
            return;
        }
        let atr = self.markets.get(index).and_then(|market| market.analysis.atr());
        let Some(state) = self.state.assets.get_mut(index) else { return };
        let protection = state.position.as_ref().map(|position| position.protection);
        if let Some(protection) = protection {
            state.desk.judge_breach(protection.stop_by, now);
        }
        let holding = self.state.ledger.holding(&state.asset);
        let held = Held {
            bot: &self.identity,
            asset: &state.asset,
            quantity: holding.map_or(Decimal::ZERO, |holding| holding.quantity),
            stop: protection.map(|protection| protection.stop),
            atr,
        };
        for intent in state.desk.drop_missing(&held) {
            let status = OrderStatus::Rejected { reason: OrderRejection::NeverArrived };
            out.push(Output::Order(order(&intent, now, status)));
        }
        for command in state.desk.next(&held, now) {
            if let Command::Submit(intent) = &command {
                out.push(Output::Order(order(intent, now, OrderStatus::Open)));
            }
            out.push(Output::Command(command));
        }
    }

    /// Takes what a venue says.
    pub(crate) fn on_report(&mut self, report: &VenueReport, now: Timestamp, out: &mut Vec<Output>) {
        match &report.report {
            Report::Account(reading) => {
                self.compare(&report.venue, reading, now, out);
                self.work_on_all(now, out);
            }
            Report::Order { id, news } => {
                let Some(index) = self.state.assets.iter().position(|state| state.desk.knows(id)) else {
                    // An answer that came twice to a question about an order that never was.
                    if matches!(news, News::Missing { .. }) {
                        return;
                    }
                    let message = format!(
                        "{} reports on the order {id}, which is none of this bot's or too old to be \
                         remembered; the next reading of the account shows whether it matters",
                        report.venue
                    );
                    let reason = Refusal::UnknownOrder;
                    out.push(Output::Refused(Refused { at: now, asset: None, reason, message }));
                    return;
                };
                let Some(state) = self.state.assets.get_mut(index) else { return };
                let heard = state.desk.hear(&self.identity, &state.asset, id, news, now);
                if let Some(heard) = heard {
                    self.on_heard(index, heard, now, out);
                }
                self.work(index, now, out);
                self.ask_for_readings(now, out);
            }
        }
    }

    fn on_heard(&mut self, index: usize, heard: Heard, now: Timestamp, out: &mut Vec<Output>) {
        let Heard { intent, change, .. } = &heard;
        for (n, fill) in change.fills.iter().enumerate() {
            self.book(index, &heard, fill, heard.first && n == 0, now, out);
        }
        if let Some(ended) = change.ended {
            let status = match ended {
                Known::Filled => OrderStatus::Filled,
                Known::Rejected => OrderStatus::Rejected { reason: OrderRejection::ByVenue },
                Known::NeverArrived => OrderStatus::Rejected { reason: OrderRejection::NeverArrived },
                Known::Withheld(reason) => OrderStatus::Cancelled { reason },
                _ => OrderStatus::Cancelled { reason: Cancellation::AtVenue },
            };
            if intent.role == Role::Entry
                && ended == Known::Rejected
                && let Some(state) = self.state.assets.get_mut(index)
            {
                state.stopped_at = Some(now);
            }
            out.push(Output::Order(order(intent, now, status)));
        }
        // What was filled and is not told yet is still reserved.
        if heard.done
            && let Some(state) = self.state.assets.get_mut(index)
            && state.pending.as_ref().is_some_and(|pending| pending.order.id == intent.id)
        {
            state.pending = None;
        }
        if change.again {
            out.push(Output::Command(Command::Submit(intent.clone())));
        }
    }

    fn book(
        &mut self,
        index: usize,
        heard: &Heard,
        fill: &VenueFill,
        first: bool,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Heard { intent, cycle, plan, .. } = heard;
        let booked = Fill {
            order: intent.id.clone(),
            at: now,
            asset: intent.asset.clone(),
            venue: intent.venue.clone(),
            role: intent.role,
            side: intent.side,
            quantity: fill.quantity,
            // What the price would have been without costs is not told.
            base_price: fill.price,
            price: fill.price,
            fee: fill.fee,
        };
        let before = self.state.ledger.holding(&intent.asset).map(|holding| holding.quantity);
        let result = self.state.ledger.book(&booked);
        let Some(state) = self.state.assets.get_mut(index) else { return };
        let Ok(round_trip) = result else {
            // It happened and fits nothing that is known here: a person has to look.
            state.desk.disputed = true;
            out.push(Output::Discrepancy(Discrepancy {
                at: now,
                asset: intent.asset.clone(),
                venue: intent.venue.clone(),
                kind: DiscrepancyKind::Fill,
                order: Some(intent.id.clone()),
                ledger: before.unwrap_or_default().normalize(),
                at_venue: None,
            }));
            return;
        };
        out.push(Output::Fill(booked));
        if intent.role == Role::Entry {
            if let Some(Pending { order, plan: Some(plan) }) = &mut state.pending
                && order.id == intent.id
            {
                // What is filled is held, and no longer reserved.
                plan.quantity = plan.quantity.saturating_sub(fill.quantity).max(Decimal::ZERO);
            }
            if first {
                let day = day_of(now);
                self.state.entries.retain(|at| day_of(*at) == day);
                self.state.entries.push(now);
            }
            self.protect(index, intent, *cycle, plan, now);
        } else if let Some(trip) = round_trip {
            let protection = state.position.as_ref().map(|position| position.protection);
            let reason = match intent.role {
                Role::Protect => protection.map_or(ExitReason::Stop, |protection| protection.stop_by),
                Role::Entry | Role::Exit => state.desk.closing.unwrap_or(ExitReason::Panel),
            };
            self.trade_closed(index, now, trip, reason, out);
        }
    }

    /// The position that an entry's fill opened or made larger; its stop is the plan's.
    fn protect(&mut self, index: usize, intent: &Intent, cycle: Timestamp, plan: &Plan, now: Timestamp) {
        let Some(state) = self.state.assets.get_mut(index) else { return };
        let Some(holding) = self.state.ledger.holding(&state.asset) else { return };
        let entry = to_f64(holding.entry_price());
        // A fill beyond its stop has no distance to measure by, and is stopped out as soon as it rests.
        let planned = Protection {
            side: intent.side,
            entry,
            risk: plan.price * plan.stop_distance,
            best: entry,
            stop: plan.stop,
            stop_by: ExitReason::Stop,
            target: plan.target,
        };
        let fresh = Protection::new(intent.side, entry, plan.stop, plan.target).unwrap_or(planned);
        match &mut state.position {
            None => {
                state.position = Some(OpenPosition {
                    id: intent.id.clone(),
                    cycle,
                    opened_at: now,
                    venue: intent.venue.clone(),
                    protection: fresh,
                    failed_exits: 0,
                });
            }
            // Until something moved the stop, R is that of the mean price.
            Some(position) if position.id == intent.id && position.protection.stop == plan.stop => {
                position.protection = Protection { best: position.protection.best, ..fresh };
            }
            Some(_) => {}
        }
    }
}

fn order(intent: &Intent, now: Timestamp, status: OrderStatus) -> Order {
    Order {
        id: intent.id.clone(),
        at: now,
        decided_at: intent.at,
        asset: intent.asset.clone(),
        venue: intent.venue.clone(),
        role: intent.role,
        side: intent.side,
        quantity: intent.quantity.normalize(),
        status,
    }
}
