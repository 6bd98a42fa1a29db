//! What may come in: events are checked before anything changes.

use crds::AssetClass;
use crds::config::{BotConfig, Venue, VenueKind};
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::asset_state::{AssetState, Market};
use crate::decimal::to_f64;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::event::{Event, EventKind};
use crate::id::Id;
use crate::market::plausible_price;
use crate::orders::{News, Report, VenueFill, VenueReport};
use crate::output::{Refusal, Refused};
use crate::panel::Panel;
use crate::risk::Gate;
use crate::venue::Paper;

/// The year 9000, in seconds since 1970.
const LATEST: i64 = 221_845_392_000;

/// A configuration that can be taken over, with what was made from it.
pub(crate) struct Accepted {
    markets: Vec<Market>,
}

/// Whether orders at a venue of that kind are messages, as opposed to fills within the call.
const fn answers_by_message(kind: &VenueKind) -> bool {
    match kind {
        VenueKind::Paper(_) => false,
    }
}

/// Quantities of what there can be: sums of several have room in a decimal.
fn check_quantity(what: &str, quantity: Decimal) -> Result<(), (Refusal, String)> {
    let most = Paper::MAXIMUM_QUANTITY;
    if (Decimal::ZERO..=most).contains(&quantity) {
        return Ok(());
    }
    Err((Refusal::BadQuantity, format!("{what}: {quantity} is no quantity; it lies between 0 and {most}")))
}

fn check_fill(order: &Id, fill: &VenueFill) -> Result<(), (Refusal, String)> {
    let VenueFill { id, quantity, price, fee } = fill;
    let plausible = check_quantity("", *quantity).is_ok()
        && !quantity.is_zero()
        && plausible_price(to_f64(*price))
        && fee.abs() <= Paper::MAXIMUM_QUANTITY;
    if plausible {
        return Ok(());
    }
    let message =
        format!("fill {id} of the order {order}: {quantity} at {price} for a fee of {fee} is no fill");
    Err((Refusal::BadFill, message))
}

impl<P: Panel, G: Gate> Engine<P, G> {
    /// Whether the event can be handled.
    pub(crate) fn check(&self, event: &Event) -> Result<(), Refused> {
        let refused = |asset: Option<&crds::Asset>, reason, message| Refused {
            at: event.at,
            asset: asset.cloned(),
            reason,
            message,
        };
        let in_order = |asset| match self.state.market_time {
            Some(now) if event.at < now => {
                let message =
                    format!("{} is before market time {now}; give events in the order of time", event.at);
                Err(refused(asset, Refusal::TimeRunsBackwards, message))
            }
            _ => Ok(()),
        };
        let known = |asset: &crds::Asset| {
            self.index(asset).ok_or_else(|| {
                let message = format!("{asset} is not in the configuration; add it to assets");
                refused(Some(asset), Refusal::UnknownAsset, message)
            })
        };
        // Leaves room for what is reckoned from it: the open of a bar, the end of an interval.
        let countable = (0..=LATEST).contains(&event.at.as_second());
        if !countable && !matches!(event.kind, EventKind::Lease { .. } | EventKind::Configuration(_)) {
            let message = format!("{} lies outside of the years 1970 to 9000; correct the time", event.at);
            return Err(refused(None, Refusal::BadTime, message));
        }
        match &event.kind {
            EventKind::Lease { .. } | EventKind::Takeover => Ok(()),
            // A fact does not become untrue by coming late.
            EventKind::Venue(report) => {
                self.check_report(report).map_err(|(reason, message)| refused(None, reason, message))
            }
            EventKind::Configuration(config) => self
                .accept(config)
                .map(drop)
                .map_err(|error| refused(None, Refusal::BadConfiguration, error.to_string())),
            // Live, time that has passed has passed, whatever the clocks say.
            EventKind::Timer if !self.state.remote.is_empty() => Ok(()),
            EventKind::Timer => in_order(None),
            EventKind::Quote { asset, bid, ask, low_bid, high_ask } => {
                let index = known(asset)?;
                if self.answers_by_message(index) {
                    let last = self.state.assets.get(index).and_then(|state| state.quote_at);
                    if let Some(last) = last.filter(|last| event.at < *last) {
                        let message = format!("the quote of {} comes after that of {last}", event.at);
                        return Err(refused(Some(asset), Refusal::TimeRunsBackwards, message));
                    }
                } else {
                    in_order(Some(asset))?;
                }
                let plausible = [*bid, *ask, *low_bid, *high_ask].into_iter().all(plausible_price);
                if plausible && bid <= ask && low_bid <= bid && ask <= high_ask {
                    return Ok(());
                }
                let message = format!(
                    "bid {bid} (lowest {low_bid}) and ask {ask} (highest {high_ask}) are no quote; \
                     prices lie between 1e-8 and 1e10 and do not cross"
                );
                Err(refused(Some(asset), Refusal::BadPrice, message))
            }
            EventKind::History { asset, timeframe, bar } | EventKind::Bar { asset, timeframe, bar } => {
                let index = known(asset)?;
                // History may come late: an asset that was added gets its past then. So may a live bar: it is
                // made when its time is over, and time goes on meanwhile.
                if matches!(event.kind, EventKind::Bar { .. }) && !self.answers_by_message(index) {
                    in_order(Some(asset))?;
                }
                let series = self.markets.get(index).map(|market| market.series.check(*timeframe, event.at));
                series
                    .unwrap_or(Ok(()))
                    .and_then(|()| bar.check())
                    .map_err(|(reason, message)| refused(Some(asset), reason, message))
            }
        }
    }

    fn check_report(&self, report: &VenueReport) -> Result<(), (Refusal, String)> {
        if !self.state.remote.contains_key(&report.venue) {
            let message = format!("the venue `{}` does not answer by message", report.venue);
            return Err((Refusal::UnknownVenue, message));
        }
        let (id, news) = match &report.report {
            Report::Order { id, news } => (id, news),
            Report::Account(reading) => {
                let mut positions = reading.positions.iter();
                return positions
                    .try_for_each(|(asset, units)| check_quantity(&asset.to_string(), units.abs()));
            }
        };
        match news {
            News::Fill(fill) => check_fill(id, fill),
            News::Cancelled { filled } => check_quantity(&format!("the order {id}, filled"), *filled),
            News::Status { quantity, stop, filled, fills, .. } => {
                check_quantity(&format!("the order {id}"), *quantity)?;
                check_quantity(&format!("the order {id}, filled"), *filled)?;
                if let Some(stop) = stop.filter(|stop| !plausible_price(*stop)) {
                    let message =
                        format!("the order {id}: {stop} is no price; it lies between 1e-8 and 1e10");
                    return Err((Refusal::BadPrice, message));
                }
                fills.iter().try_for_each(|fill| check_fill(id, fill))
            }
            News::Accepted
            | News::Rejected { .. }
            | News::Withheld { .. }
            | News::Unknown
            | News::Missing { .. } => Ok(()),
        }
    }

    /// Gives a bar of the past to the indicators of a restored engine, if it was among those that the
    /// snapshot was made after.
    pub(crate) fn refeed(&mut self, event: &Event) {
        let (EventKind::History { .. } | EventKind::Bar { .. } | EventKind::Quote { .. } | EventKind::Timer) =
            &event.kind
        else {
            return;
        };
        if self.check(event).is_err() {
            return;
        }
        self.state.market_time = self.state.market_time.max(Some(event.at));
        let (EventKind::History { asset, timeframe, bar } | EventKind::Bar { asset, timeframe, bar }) =
            &event.kind
        else {
            return;
        };
        let Some(index) = self.index(asset) else { return };
        let fed = self.state.assets.get(index).and_then(|state| state.fed);
        let was_fed = |at: Timestamp| fed.is_some_and(|fed| (fed.first..=fed.last).contains(&at));
        if let Some(market) = self.markets.get_mut(index).filter(|_| was_fed(event.at)) {
            let step = market.series.push(*timeframe, event.at, bar);
            market.analysis.push(&step);
        }
    }

    /// Whether the configuration can replace the present one. State, schedule, risk, exits and costs
    /// always can; assets can be added, and removed while they are flat.
    pub(crate) fn accept(&self, config: &BotConfig) -> Result<Accepted, EngineError> {
        let Some(first) = config.assets.first() else { return Err(EngineError::NoAssets) };
        for Venue { name, kind: VenueKind::Paper(paper) } in &config.venues {
            let (least, most) = (Decimal::ZERO, Decimal::from(1_000_000_000_000_i64));
            if paper.starting_cash.0 <= least || paper.starting_cash.0 > most {
                return Err(EngineError::OutOfRange {
                    field: format!("venues[{name}].paper.startingCash"),
                    value: paper.starting_cash.to_string(),
                    low: "0.00000001".into(),
                    high: most.to_string(),
                });
            }
        }
        for state in &self.state.assets {
            let after = config.assets.iter().find(|asset| asset.pair == state.asset);
            let venue = state
                .position
                .as_ref()
                .map(|position| &position.venue)
                .or(state.pending.as_ref().map(|pending| &pending.order.venue))
                .map(String::as_str)
                .or(state.desk.venue_at_work());
            match (after, venue) {
                (None, Some(_)) => return Err(EngineError::AssetHeld { asset: state.asset.clone() }),
                (Some(after), Some(venue)) if after.venue != venue => {
                    return Err(EngineError::AssetHeld { asset: state.asset.clone() });
                }
                _ => {}
            }
        }
        let currency = first.pair.quote();
        let before = self.state.assets.first().map_or(currency, |state| state.asset.quote());
        if let Some(other) = config.assets.iter().find(|asset| asset.pair.quote() != before) {
            return Err(EngineError::OtherCurrency {
                asset: other.pair.clone(),
                currency: before.to_owned(),
            });
        }
        let markets = config.assets.iter().map(|asset| {
            let fresh = Market::new(config, asset)?;
            let present = self.index(&asset.pair).and_then(|index| self.markets.get(index));
            Ok(present
                .map_or_else(|| fresh.clone(), |market| Market { paper: fresh.paper, ..market.clone() }))
        });
        Ok(Accepted { markets: markets.collect::<Result<_, EngineError>>()? })
    }

    /// Takes over a configuration. A venue that is new brings its starting cash with it.
    pub(crate) fn apply(&mut self, config: BotConfig, accepted: Accepted) {
        for venue in &config.venues {
            if answers_by_message(&venue.kind) {
                self.state.remote.entry(venue.name.clone()).or_default();
            }
        }
        for Venue { name, kind: VenueKind::Paper(paper) } in &config.venues {
            let cash = paper.starting_cash.0;
            if !self.state.ledger.has_account(name) && self.state.ledger.deposit(name, cash).is_ok() {
                // A transfer is no profit: what equity is compared with moves along.
                self.state.peak += to_f64(cash);
                if let Some(day) = &mut self.state.day {
                    day.equity = day.equity.saturating_add(cash);
                }
            }
        }
        let mut before = std::mem::take(&mut self.state.assets);
        let assets = config.assets.iter().map(|asset| {
            let known = before.iter().position(|state| state.asset == asset.pair);
            known.map_or_else(|| AssetState::new(asset.pair.clone()), |index| before.swap_remove(index))
        });
        self.state.assets = assets.collect();
        self.markets = accepted.markets;
        self.state.config = config;
    }

    /// Cash that an entry at the venue can use; none where the venue lends.
    pub(crate) fn cash_for(&self, class: AssetClass, venue: &str) -> Option<Decimal> {
        match class {
            AssetClass::Forex => None,
            AssetClass::Crypto | AssetClass::Stock => Some(self.state.ledger.cash_at(venue)),
        }
    }
}
