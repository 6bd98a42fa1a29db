//! The slow cadence: observe, argue, ask the gatekeeper, act.

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::asset_state::Pending;
use crate::decimal::from_f64;
use crate::engine::Engine;
use crate::id::Id;
use crate::market::Freshness;
use crate::output::{Decision, Order, OrderStatus, Outcome, Output, Role};
use crate::panel::{Action, Brief, DECISION_TIMEFRAME, Panel, Verdict, field, legal_actions};
use crate::risk::{
    Budget, Candidate, Exposure, Gate, Limits, Operation, Plan, Reason, Rejection, assess_exit,
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
            let Verdict { action, empty_chair, .. } = deliberation.verdict;
            match (empty_chair, action) {
                (Some(_), _) => self.decide(deliberation, Outcome::Abstained, None, None, out),
                (None, Action::Hold) => self.decide(deliberation, Outcome::Hold, None, None, out),
                (None, _) => actionable.push(deliberation),
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
            match self.gate(&deliberation, now) {
                Err(rejection) => self.decide(deliberation, Outcome::Rejected, Some(rejection), None, out),
                Ok(pending) => {
                    let (plan, index) = (pending.plan.clone(), deliberation.index);
                    if self.answers_by_message(index) {
                        by_message.push((index, pending.clone()));
                    } else {
                        orders.push(pending.order.clone());
                    }
                    if let Some(state) = self.state.assets.get_mut(index) {
                        state.pending = Some(pending);
                    }
                    self.decide(deliberation, Outcome::Approved, None, plan, out);
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
        outcome: Outcome,
        rejection: Option<Rejection>,
        plan: Option<Plan>,
        out: &mut Vec<Output>,
    ) {
        let decision = Decision {
            id: Id::decision(&self.identity, &brief.asset, brief.at),
            at: brief.at,
            asset: brief.asset,
            action: verdict.action,
            confidence: verdict.confidence,
            opinions: verdict.opinions,
            outcome,
            rejection,
            plan,
            brief: brief.numbers.into_iter().map(|(field, value)| (field.to_owned(), value)).collect(),
        };
        self.state.last_decision = Some(decision.clone());
        out.push(Output::Decision(Box::new(decision)));
    }

    /// The gatekeeper's answer: the order that follows, or why none does.
    fn gate(&self, deliberation: &Deliberation, now: Timestamp) -> Result<Pending, Rejection> {
        let Deliberation { index, verdict, .. } = deliberation;
        let refused = || Rejection::new(0, Reason::IllegalAction);
        let state = self.state.assets.get(*index).ok_or_else(refused)?;
        if verdict.action == Action::Close {
            let exit_pending = state.pending.is_some() || state.desk.closing.is_some();
            assess_exit(verdict.confidence, state.side(), exit_pending)?;
            let order = self.exit_order(*index, Role::Exit, now).ok_or_else(refused)?;
            return Ok(Pending { order, plan: None });
        }
        let side = verdict.action.opens().ok_or_else(refused)?;
        let candidate = self.candidate(*index, verdict, now).ok_or_else(refused)?;
        let plan = self.gate.assess(&candidate)?;
        let venue =
            self.state.config.assets.get(*index).map(|asset| asset.venue.clone()).ok_or_else(refused)?;
        let order = Order {
            id: Id::order(&venue, &self.identity, &state.asset, now, Role::Entry, 0),
            at: now,
            decided_at: now,
            asset: state.asset.clone(),
            venue,
            role: Role::Entry,
            side,
            quantity: plan.quantity,
            status: OrderStatus::Open,
        };
        Ok(Pending { order, plan: Some(plan) })
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
            price: state.price(),
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
