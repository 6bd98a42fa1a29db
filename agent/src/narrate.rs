//! The story of a bot in log lines, with the ids by which a line is found in journal and API.

use engine::{BotId, Event, Fill, Id, Order, Outcome, Output, Role};
use tracing::{debug, error, info, trace, warn};

use crate::journal::event_kind;
use crate::view::{outcome_word, reason};

/// Says what happened and what the engine did about it: what people ask about at `info`, the rest at `debug`.
///
/// A bar's time is the `cycle` of the decision that it leads to; decision, order and fill bear both, and `trade` is
/// in all that follows the entry's fill.
pub fn narrate(bot: &BotId, event: &Event, outputs: &[Output]) {
    trace!(at = %event.at, kind = event_kind(event), "event");
    for output in outputs {
        tell(bot, output, outputs);
    }
}

/// The decision behind an order; a resting stop or target was decided on with its entry.
fn decision_of(bot: &BotId, order: &Order) -> Option<Id> {
    (order.role != Role::Protect).then(|| Id::decision(bot, &order.asset, order.decided_at))
}

/// The trade that a fill opens or closes.
fn trade_of<'a>(fill: &'a Fill, outputs: &'a [Output]) -> Option<&'a Id> {
    if fill.role == Role::Entry {
        return Some(&fill.order);
    }
    outputs.iter().find_map(|output| match output {
        Output::TradeClosed(trade) if trade.asset == fill.asset => Some(&trade.id),
        _ => None,
    })
}

fn tell(bot: &BotId, output: &Output, outputs: &[Output]) {
    match output {
        Output::Decision(decision) => {
            let outcome = outcome_word(decision.outcome);
            let why = reason(decision);
            let (id, cycle, asset) = (decision.id.as_str(), decision.at, &decision.asset);
            let (action, confidence) = (decision.action.as_str(), decision.confidence);
            if matches!(decision.outcome, Outcome::Approved | Outcome::Rejected) {
                info!(decision = id, %cycle, %asset, action, confidence, outcome, reason = why, "decision");
            } else {
                debug!(decision = id, %cycle, %asset, action, confidence, outcome, reason = why, "decision");
            }
        }
        Output::Command(command) => debug!(?command, "to the venue"),
        Output::Discrepancy(found) => {
            error!(
                at = %found.at, asset = %found.asset, venue = found.venue, kind = ?found.kind,
                ledger = %found.ledger, at_venue = found.at_venue.map(|units| units.to_string()),
                "ledger and venue differ: nothing opens on the asset until they agree; look at the account"
            );
        }
        Output::Order(order) => {
            debug!(
                order = order.id.as_str(), decision = decision_of(bot, order).as_ref().map(Id::as_str),
                cycle = %order.decided_at, asset = %order.asset, role = ?order.role, status = ?order.status,
                quantity = %order.quantity, "order"
            );
        }
        Output::Fill(fill) => {
            let order = outputs.iter().find_map(|output| match output {
                Output::Order(order) if order.id == fill.order => Some(order),
                _ => None,
            });
            info!(
                order = fill.order.as_str(),
                decision = order.and_then(|order| decision_of(bot, order)).as_ref().map(Id::as_str),
                cycle = order.map(|order| order.decided_at.to_string()), trade = trade_of(fill, outputs).map(Id::as_str),
                at = %fill.at, asset = %fill.asset, role = ?fill.role, side = ?fill.side,
                quantity = %fill.quantity, price = %fill.price, fee = %fill.fee, "fill"
            );
        }
        Output::StopMoved(moved) => {
            info!(
                trade = moved.trade.as_str(), at = %moved.at, asset = %moved.asset, from = moved.from,
                to = moved.to, by = ?moved.by, "stop moved"
            );
        }
        Output::TradeClosed(trade) => {
            info!(
                trade = trade.id.as_str(), at = %trade.closed_at, asset = %trade.asset, net = %trade.net,
                r = trade.r_multiple, reason = ?trade.exit_reason, "trade closed"
            );
        }
        Output::Gap(gap) => {
            debug!(asset = %gap.asset, from = %gap.from, to = %gap.to, bars = gap.bars, "bars are missing");
        }
        Output::Refused(refused) => {
            warn!(
                at = %refused.at, asset = refused.asset.as_ref().map(ToString::to_string),
                reason = ?refused.reason, message = refused.message, "event refused"
            );
        }
        Output::IllegalTransition(transition) => {
            error!(
                at = %transition.at, from = transition.from.as_str(), to = transition.to.as_str(),
                "the loop was asked for an illegal move; this is a bug, please report it"
            );
        }
        Output::Configured { at } => {
            info!(market_time = at.map(|at| at.to_string()), "configured");
        }
        Output::Transition(transition) => {
            tracing::trace!(
                cycle = %transition.at, from = transition.from.as_str(), to = transition.to.as_str(), "loop"
            );
        }
    }
}
