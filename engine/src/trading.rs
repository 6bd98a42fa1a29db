//! The fast cadence: every bar and quote fills what waits, tries the stops and marks the positions.
//! No panel is asked.

use crds::Timeframe;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::asset_state::{OpenPosition, Pending};
use crate::decimal::to_f64;
use crate::engine::Engine;
use crate::exits::{ExitContext, Protection};
use crate::id::Id;
use crate::ledger::RoundTrip;
use crate::market::{Bar, QUOTE_LIMIT, bar_limit};
use crate::output::{
    Cancellation, ExitReason, Fill, Gap, Order, OrderRejection, OrderStatus, Output, Role, Side, StopMoved,
    Trade,
};
use crate::panel::Panel;
use crate::risk::{Gate, Plan};
use crate::snapshot::{Day, day_of};
use crate::states::LoopState;
use crate::venue::{Liquidity, Priced, QuoteWindow, Touch, TouchKind, walk_bar, walk_quote};

/// A price that an order can be filled at.
#[derive(Clone, Copy)]
struct Offer {
    at: Timestamp,
    price: f64,
    liquidity: Liquidity,
}

impl<P: Panel, G: Gate> Engine<P, G> {
    /// A final bar: first its prices in the order in which they came, then what it says about the market.
    pub(crate) fn on_bar(
        &mut self,
        index: usize,
        timeframe: Timeframe,
        end: Timestamp,
        bar: &Bar,
        out: &mut Vec<Output>,
    ) {
        let start = end - SignedDuration::from_secs(timeframe.as_secs());
        self.roll_day(start);
        let by_message = self.answers_by_message(index);
        let state = self.state.assets.get(index);
        // Where quotes were given for this time, its prices were seen already; when they fell silent, its
        // close is the first price since.
        let unseen = match state.and_then(|state| state.quote_at).filter(|at| *at > start) {
            None => Some((start, *bar)),
            Some(at) if end.duration_since(at) > QUOTE_LIMIT => {
                Some((end, Bar { open: bar.close, high: bar.close, low: bar.close, ..*bar }))
            }
            Some(_) => None,
        };
        if let Some((from, prices)) = unseen.as_ref().filter(|_| !by_message) {
            let open = Offer { at: *from, price: prices.open, liquidity: Liquidity::TakeAtMid };
            let decided_at = state.and_then(|state| Some(state.pending.as_ref()?.order.decided_at));
            if decided_at.is_some_and(|decided_at| decided_at <= start) {
                self.fill_pending(index, open, out);
            }
            let touch = self.protection(index).and_then(|p| walk_bar(prices, p.side, p.stop, p.target));
            if let Some(touch) = touch {
                let at = if touch.at_open { *from } else { end };
                self.fill_protection(index, touch, at, Liquidity::TakeAtMid, out);
            }
        }
        let decides = self.feed(index, timeframe, end, bar, out);
        if let Some(state) = self.state.assets.get_mut(index) {
            state.due |= decides;
        }
        let now = self.now(end);
        if let Some((_, prices)) = unseen {
            self.remark(index, prices.close);
            self.move_stop(index, now, |side| if side == Side::Long { prices.high } else { prices.low }, out);
            self.watch_stop(index, |_| prices.close, now);
        }
        self.work(index, now, out);
    }

    /// Whether the price is beyond a stop that rests at a venue, which should have been filled there.
    fn watch_stop(&mut self, index: usize, price: impl Fn(Side) -> f64, at: Timestamp) {
        let Some(protection) = self.protection(index) else { return };
        let beyond = (price(protection.side) - protection.stop) * protection.side.sign() <= 0.0;
        if self.answers_by_message(index)
            && let Some(state) = self.state.assets.get_mut(index)
        {
            state.desk.watch(beyond, at);
        }
    }

    /// A quote: fills at the touch.
    pub(crate) fn on_quote(
        &mut self,
        index: usize,
        at: Timestamp,
        quote: &QuoteWindow,
        out: &mut Vec<Output>,
    ) {
        self.roll_day(at);
        let now = self.now(at);
        let by_message = self.answers_by_message(index);
        let pending = self.state.assets.get(index).and_then(|state| state.pending.as_ref());
        let fillable = pending.filter(|pending| pending.order.decided_at < at);
        if by_message {
            self.watch_stop(index, |side| if side == Side::Long { quote.bid } else { quote.ask }, now);
        } else if let Some(buys) =
            fillable.map(|pending| (pending.order.role == Role::Entry) == (pending.order.side == Side::Long))
        {
            // The window's extremes lie before the fill: the new stop is tried from the next quote on.
            let price = if buys { quote.ask } else { quote.bid };
            self.fill_pending(index, Offer { at, price, liquidity: Liquidity::TakeAtTouch }, out);
        } else {
            let touch = self.protection(index).and_then(|p| walk_quote(quote, p.side, p.stop, p.target));
            if let Some(touch) = touch {
                self.fill_protection(index, touch, at, Liquidity::TakeAtTouch, out);
            }
        }
        if let Some(state) = self.state.assets.get_mut(index) {
            state.quote_at = Some(at);
        }
        self.remark(index, quote.mid());
        self.move_stop(index, now, |side| if side == Side::Long { quote.bid } else { quote.ask }, out);
        self.work(index, now, out);
    }

    /// Gives a bar to the indicators, and says whether a decision bar became final.
    pub(crate) fn feed(
        &mut self,
        index: usize,
        timeframe: Timeframe,
        end: Timestamp,
        bar: &Bar,
        out: &mut Vec<Output>,
    ) -> bool {
        let (Some(market), Some(state)) = (self.markets.get_mut(index), self.state.assets.get_mut(index))
        else {
            return false;
        };
        let step = market.series.push(timeframe, end, bar);
        market.analysis.push(&step);
        state.fed = market.series.fed();
        if let Some((close, from, bars)) = step.gap {
            let to = end - SignedDuration::from_secs(timeframe.as_secs());
            out.push(Output::Gap(Gap { asset: state.asset.clone(), timeframe, from, to, bars, close }));
        }
        step.decision.iter().any(Option::is_some)
    }

    /// Takes note of a price, and of equity when it is a new high.
    pub(crate) fn remark(&mut self, index: usize, price: f64) {
        if let Some(state) = self.state.assets.get_mut(index) {
            state.mark = Some(price);
        }
        self.state.peak = self.state.peak.max(to_f64(self.equity()));
    }

    /// Starts a new trading day before the first price that belongs to it.
    pub(crate) fn roll_day(&mut self, at: Timestamp) {
        let number = day_of(at);
        if self.state.day.is_none_or(|day| day.number < number) {
            self.state.day = Some(Day { number, equity: self.equity() });
        }
    }

    fn protection(&self, index: usize) -> Option<Protection> {
        Some(self.state.assets.get(index)?.position.as_ref()?.protection)
    }

    fn move_stop(&mut self, index: usize, at: Timestamp, best: impl Fn(Side) -> f64, out: &mut Vec<Output>) {
        let Some(market) = self.markets.get(index) else { return };
        let Some(state) = self.state.assets.get_mut(index) else { return };
        let Some(position) = &mut state.position else { return };
        let context = ExitContext {
            exits: &self.state.config.exits,
            costs: &market.paper.costs,
            atr: market.analysis.atr(),
        };
        let protection = &mut position.protection;
        if let Some(from) = protection.observe(best(protection.side), &context) {
            out.push(Output::StopMoved(StopMoved {
                at,
                asset: state.asset.clone(),
                trade: position.id.clone(),
                from,
                to: protection.stop,
                by: protection.stop_by,
            }));
        }
    }

    fn fill_pending(&mut self, index: usize, offer: Offer, out: &mut Vec<Output>) {
        let Some(state) = self.state.assets.get_mut(index) else { return };
        let Some(Pending { order, plan }) = state.pending.take() else { return };
        match plan {
            Some(plan) => self.fill_entry(index, order, &plan, offer, out),
            None => self.fill_exit(index, order, offer, ExitReason::Panel, out),
        }
    }

    fn fill_entry(&mut self, index: usize, order: Order, plan: &Plan, offer: Offer, out: &mut Vec<Output>) {
        let age = offer.at.duration_since(order.decided_at);
        let fed = self.markets.get(index).and_then(|market| market.series.fed());
        let cancelled = if self.state.config.state != crds::config::State::Running {
            Some(Cancellation::Paused)
        } else if !self.lease_held {
            Some(Cancellation::LeaseNotHeld)
        } else if fed.is_none_or(|fed| age > bar_limit(fed.timeframe)) {
            // Size and stop were reckoned from a price that is long gone.
            Some(Cancellation::StaleDecision)
        } else {
            None
        };
        if let Some(reason) = cancelled {
            out.push(Output::Order(Order {
                at: offer.at,
                status: OrderStatus::Cancelled { reason },
                ..order
            }));
            return;
        }
        match self.try_entry(index, &order, plan, offer) {
            Ok(fill) => {
                out.push(Output::Order(Order { at: offer.at, status: OrderStatus::Filled, ..order }));
                out.push(Output::Fill(fill));
            }
            Err(reason) => {
                if let Some(state) = self.state.assets.get_mut(index) {
                    state.stopped_at = Some(offer.at);
                }
                out.push(Output::Order(Order {
                    at: offer.at,
                    status: OrderStatus::Rejected { reason },
                    ..order
                }));
            }
        }
    }

    fn try_entry(
        &mut self,
        index: usize,
        order: &Order,
        plan: &Plan,
        offer: Offer,
    ) -> Result<Fill, OrderRejection> {
        let market = self.markets.get(index).ok_or(OrderRejection::OutOfRange)?;
        let priced = market
            .paper
            .price(offer.liquidity, order.side, true, offer.price, order.quantity)
            .ok_or(OrderRejection::OutOfRange)?;
        let amount =
            order.quantity.checked_mul(priced.price).and_then(|amount| amount.checked_add(priced.fee));
        let amount = amount.ok_or(OrderRejection::OutOfRange)?;
        if self.cash_for(order.asset.class(), &order.venue).is_some_and(|cash| amount > cash) {
            return Err(OrderRejection::InsufficientFunds);
        }
        // The price before costs decides: a fill whose stop is already reached would be closed at once.
        if (offer.price - plan.stop) * order.side.sign() <= 0.0 {
            return Err(OrderRejection::BeyondStop);
        }
        let protection = Protection::new(order.side, to_f64(priced.price), plan.stop, plan.target)
            .ok_or(OrderRejection::BeyondStop)?;
        let fill = fill(order, offer.at, order.quantity, priced);
        self.state.ledger.book(&fill).map_err(|_| OrderRejection::OutOfRange)?;
        let day = day_of(offer.at);
        self.state.entries.retain(|at| day_of(*at) == day);
        self.state.entries.push(offer.at);
        if let Some(state) = self.state.assets.get_mut(index) {
            state.position = Some(OpenPosition {
                id: order.id.clone(),
                cycle: order.decided_at,
                opened_at: offer.at,
                venue: order.venue.clone(),
                protection,
                failed_exits: 0,
            });
        }
        Ok(fill)
    }

    fn fill_protection(
        &mut self,
        index: usize,
        touch: Touch,
        at: Timestamp,
        market_liquidity: Liquidity,
        out: &mut Vec<Output>,
    ) {
        let Some(order) = self.exit_order(index, Role::Protect, at) else { return };
        let (liquidity, reason) = match touch.kind {
            TouchKind::Stop => {
                (market_liquidity, self.protection(index).map_or(ExitReason::Stop, |p| p.stop_by))
            }
            TouchKind::Target => (Liquidity::Make, ExitReason::Target),
        };
        self.fill_exit(index, order, Offer { at, price: touch.price, liquidity }, reason, out);
    }

    /// An order that closes the whole position.
    pub(crate) fn exit_order(&self, index: usize, role: Role, at: Timestamp) -> Option<Order> {
        let state = self.state.assets.get(index)?;
        let position = state.position.as_ref()?;
        let generation = position.failed_exits;
        Some(Order {
            id: Id::order(&position.venue, &self.identity, &state.asset, position.cycle, role, generation),
            at,
            decided_at: at,
            asset: state.asset.clone(),
            venue: position.venue.clone(),
            role,
            side: position.protection.side,
            quantity: self.state.ledger.holding(&state.asset)?.quantity.normalize(),
            status: OrderStatus::Open,
        })
    }

    fn fill_exit(
        &mut self,
        index: usize,
        order: Order,
        offer: Offer,
        reason: ExitReason,
        out: &mut Vec<Output>,
    ) {
        let Offer { at, price, liquidity } = offer;
        let priced = self
            .markets
            .get(index)
            .and_then(|market| market.paper.price(liquidity, order.side, false, price, order.quantity));
        let fill = priced.map(|priced| fill(&order, at, order.quantity, priced));
        let booked = fill.as_ref().and_then(|fill| self.state.ledger.book(fill).ok());
        let Some(state) = self.state.assets.get_mut(index) else { return };
        let (Some(fill), Some(Some(trip))) = (fill, booked) else {
            if let Some(position) = &mut state.position {
                position.failed_exits += 1;
            }
            let status = OrderStatus::Rejected { reason: OrderRejection::OutOfRange };
            out.push(Output::Order(Order { at, status, ..order }));
            return;
        };
        out.push(Output::Order(Order { at, status: OrderStatus::Filled, ..order }));
        out.push(Output::Fill(fill));
        if let Some(Pending { order, .. }) = state.pending.take() {
            let status = OrderStatus::Cancelled { reason: Cancellation::PositionClosed };
            out.push(Output::Order(Order { at, status, ..order }));
        }
        self.trade_closed(index, at, trip, reason, out);
    }

    /// The position is flat.
    pub(crate) fn trade_closed(
        &mut self,
        index: usize,
        at: Timestamp,
        trip: RoundTrip,
        reason: ExitReason,
        out: &mut Vec<Output>,
    ) {
        let Some(state) = self.state.assets.get_mut(index) else { return };
        if reason.is_stop() {
            state.stopped_at = Some(at);
        }
        let Some(position) = state.position.take() else { return };
        let risked = position.protection.risk * to_f64(trip.quantity);
        let trade = Trade {
            id: position.id,
            asset: state.asset.clone(),
            side: position.protection.side,
            quantity: trip.quantity,
            entry_price: trip.entry_price,
            exit_price: trip.exit_price,
            opened_at: position.opened_at,
            closed_at: at,
            gross: trip.gross,
            costs: trip.gross.saturating_sub(trip.net).normalize(),
            fees: trip.fees,
            net: trip.net,
            r_multiple: to_f64(trip.net) / risked,
            exit_reason: reason,
        };
        self.go_to(LoopState::Learning, at, out);
        out.push(Output::TradeClosed(trade));
        self.go_to(LoopState::Idle, at, out);
    }
}

fn fill(order: &Order, at: Timestamp, quantity: Decimal, priced: Priced) -> Fill {
    Fill {
        order: order.id.clone(),
        at,
        asset: order.asset.clone(),
        venue: order.venue.clone(),
        role: order.role,
        side: order.side,
        quantity,
        base_price: priced.base_price,
        price: priced.price,
        fee: priced.fee,
    }
}
