//! The slow cadence: observe, argue, ask the gatekeeper, act.

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::asset_state::Pending;
use crate::decimal::from_f64;
use crate::decision::Ruling;
use crate::engine::Engine;
use crate::id::Id;
use crate::market::Freshness;
use crate::output::{Decision, Order, OrderStatus, Output, Role};
use crate::panel::{Action, Brief, DECISION_TIMEFRAME, Panel, Verdict, field, legal_actions};
use crate::risk::{
    Asked, Budget, Candidate, Exit, Exposure, Gate, Hearing, Limits, Operation, Plan, Reason, Rejection,
};
use crate::states::LoopState;

/// A verdict with what it was made from.
struct Deliberation {
    index: usize,
    brief: Brief,
    verdict: Verdict,
}

impl<P: Panel, G: Gate> Engine<P, G> {
    /// No more events of this instant: a cycle runs if one is due.
    pub(crate) fn close_instant(&mut self, out: &mut Vec<Output>) {
        self.state.instant_open = false;
        let Some(now) = self.state.market_time else { return };
        let interval = self.state.config.schedule.interval.into();
        if self.state.last_cycle_at.is_none_or(|last| now.duration_since(last) >= interval) {
            self.cycle(now, out);
        }
    }

    fn cycle(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.state.last_cycle_at = Some(now);
        self.go_to(LoopState::Perception, now, out);
        let due = self.state.assets.iter_mut().enumerate();
        let due: Vec<usize> =
            due.filter_map(|(index, state)| std::mem::take(&mut state.due).then_some(index)).collect();
        if due.is_empty() {
            self.go_to(LoopState::Idle, now, out);
            return;
        }
        self.go_to(LoopState::Reasoning, now, out);
        let mut actionable = Vec::new();
        for index in due {
            let Some(deliberation) = self.deliberate(index, now) else { continue };
            match Ruling::unasked(&deliberation.verdict) {
                Some(ruling) => self.decide(deliberation, ruling, out),
                None => actionable.push(deliberation),
            }
        }
        if actionable.is_empty() {
            self.go_to(LoopState::Idle, now, out);
            return;
        }
        self.go_to(LoopState::RiskCheck, now, out);
        // An approved order is reserved at once, so that the next asset's check counts it.
        let mut orders = Vec::new();
        let mut by_message = Vec::new();
        for deliberation in actionable {
            let (hearing, answer) = self.gate(&deliberation, now);
            match answer {
                Err(rejection) => self.decide(deliberation, Ruling::rejected(rejection, hearing), out),
                Ok(pending) => {
                    let ruling = Ruling::approved(pending.plan.clone(), hearing);
                    if self.answers_by_message(deliberation.index) {
                        by_message.push((deliberation.index, pending.clone()));
                    } else {
                        orders.push(pending.order.clone());
                    }
                    if let Some(state) = self.state.assets.get_mut(deliberation.index) {
                        state.pending = Some(pending);
                    }
                    self.decide(deliberation, ruling, out);
                }
            }
        }
        if orders.is_empty() && by_message.is_empty() {
            self.go_to(LoopState::Idle, now, out);
            return;
        }
        self.go_to(LoopState::Execution, now, out);
        out.extend(orders.into_iter().map(Output::Order));
        for (index, pending) in by_message {
            self.act(index, pending, now, out);
        }
        self.go_to(LoopState::Learning, now, out);
        self.go_to(LoopState::Idle, now, out);
    }

    fn deliberate(&self, index: usize, now: Timestamp) -> Option<Deliberation> {
        let (state, market) = (self.state.assets.get(index)?, self.markets.get(index)?);
        let mut numbers = market.analysis.numbers();
        numbers.extend(state.mark.map(|price| (field::PRICE, price)));
        if let Some(position) = &state.position {
            numbers.insert(field::POSITION_ENTRY, position.protection.entry);
            numbers
                .extend(state.mark.map(|price| (field::POSITION_R, position.protection.profit_in_r(price))));
        }
        let brief = Brief {
            asset: state.asset.clone(),
            at: now,
            position: state.side(),
            legal: legal_actions(state.asset.class(), state.side()),
            numbers,
        };
        let verdict = self.panel.deliberate(&brief);
        Some(Deliberation { index, brief, verdict })
    }

    fn decide(
        &mut self,
        Deliberation { brief, verdict, .. }: Deliberation,
        ruling: Ruling,
        out: &mut Vec<Output>,
    ) {
        let decision = Decision::record(&self.identity, brief, verdict, ruling);
        self.state.last_decision = Some(decision.clone());
        out.push(Output::Decision(Box::new(decision)));
    }

    /// What the gatekeeper was asked and said, and what follows: an order, or why there is none.
    fn gate(
        &self,
        deliberation: &Deliberation,
        now: Timestamp,
    ) -> (Option<Hearing>, Result<Pending, Rejection>) {
        // A number that has no room in a decimal leaves nothing to ask about.
        let Some(asked) = self.ask(deliberation, now) else {
            return (None, Err(Rejection::new(0, Reason::NoSize)));
        };
        let (hearing, answer) = Hearing::hold(&self.gate, asked);
        let order = answer.and_then(|plan| {
            self.order(deliberation, plan, now).ok_or(Rejection::new(0, Reason::IllegalAction))
        });
        (Some(hearing), order)
    }

    fn ask(&self, Deliberation { index, verdict, .. }: &Deliberation, now: Timestamp) -> Option<Asked> {
        if verdict.action != Action::Close {
            return Some(Asked::Entry(Box::new(self.candidate(*index, verdict, now)?)));
        }
        let state = self.state.assets.get(*index)?;
        Some(Asked::Exit(Exit {
            confidence: verdict.confidence,
            position: state.side(),
            unresolved_order: state.pending.is_some() || state.desk.closing.is_some(),
        }))
    }

    /// The order of an approved verdict: with a plan it opens, without one it closes.
    fn order(&self, deliberation: &Deliberation, plan: Option<Plan>, now: Timestamp) -> Option<Pending> {
        let Deliberation { index, verdict, .. } = deliberation;
        let Some(plan) = plan else {
            return Some(Pending { order: self.exit_order(*index, Role::Exit, now)?, plan: None });
        };
        let asset = self.state.assets.get(*index)?.asset.clone();
        let venue = self.state.config.assets.get(*index)?.venue.clone();
        let order = Order {
            id: Id::order(&venue, &self.identity, &asset, now, Role::Entry, 0),
            at: now,
            decided_at: now,
            asset,
            venue,
            role: Role::Entry,
            side: verdict.action.opens()?,
            quantity: plan.quantity,
            status: OrderStatus::Open,
        };
        Some(Pending { order, plan: Some(plan) })
    }

    fn candidate(&self, index: usize, verdict: &Verdict, now: Timestamp) -> Option<Candidate> {
        let (state, market) = (self.state.assets.get(index)?, self.markets.get(index)?);
        let config = self.state.config.assets.get(index)?;
        let class = state.asset.class();
        let count = |some: usize| u32::try_from(some).unwrap_or(u32::MAX);
        let reserved = self.state.assets.iter().filter(|state| state.reserved().is_some()).count();
        let open = self.state.assets.iter().filter(|state| state.position.is_some()).count();
        let elapsed = |since: Timestamp| now.duration_since(since).as_secs_f64();
        Some(Candidate {
            asset: state.asset.clone(),
            action: verdict.action,
            confidence: verdict.confidence,
            price: state.mark?,
            atr: market.analysis.atr(),
            operation: Operation {
                paused: self.state.config.state != crds::config::State::Running,
                lease_held: self.lease_held,
                unresolved_order: state.pending.is_some() || state.desk.blocks_entries(),
            },
            freshness: Freshness {
                now,
                fed: market.series.fed().map(|fed| (fed.timeframe, fed.last)),
                decision: market.series.decision_end().map(|end| (DECISION_TIMEFRAME, end)),
                quote: state.quote_at,
            },
            exposure: Exposure {
                position: state.side(),
                entries_today: self.entries_today().saturating_add(count(reserved)),
                open_positions: count(open.saturating_add(reserved)),
                since_stop: state.stopped_at.map(elapsed),
            },
            budget: self.budget(index, &config.venue, class)?,
            costs: market.paper.costs,
            limits: Limits::new(class, &self.state.config.risk, &config.risk),
        })
    }

    /// What is left to spend. None when a sum has no room in a decimal, which no check could compute with.
    fn budget(&self, index: usize, venue: &str, class: crds::AssetClass) -> Option<Budget> {
        let mut gross = Decimal::ZERO;
        let mut of_asset = Decimal::ZERO;
        let mut reserved_cash = Decimal::ZERO;
        for (other, (state, market)) in self.state.assets.iter().zip(&self.markets).enumerate() {
            let held = match self.state.ledger.holding(&state.asset) {
                None => Decimal::ZERO,
                Some(holding) => holding.value(state.mark.and_then(from_f64)?).abs(),
            };
            let reserved = match state.reserved() {
                None => Decimal::ZERO,
                Some((order, plan)) => {
                    let notional = plan.quantity.checked_mul(from_f64(plan.price)?)?;
                    if order.venue == venue {
                        let with_costs = Decimal::ONE.checked_add(market.paper.costs.round_trip()?)?;
                        reserved_cash = reserved_cash.checked_add(notional.checked_mul(with_costs)?)?;
                    }
                    notional
                }
            };
            let exposure = held.checked_add(reserved)?;
            gross = gross.checked_add(exposure)?;
            if other == index {
                of_asset = exposure;
            }
        }
        let cash = match self.cash_for(class, venue) {
            None => None,
            Some(cash) => Some(cash.checked_sub(reserved_cash)?),
        };
        Some(Budget { equity: self.equity(), asset_exposure: of_asset, gross_exposure: gross, cash })
    }
}
