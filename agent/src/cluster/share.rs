//! The agent's share of the status, and when it is worth a write. Pure.

use std::time::Duration;

use crds::api::{
    AccountStatus, AgentStatus, DecisionStatus, MountedCertificate, PositionStatus, TradingBot,
    TradingBotStatus, TradingStatus,
};
use crds::contract::condition::FEED_HEALTHY;
use engine::Side;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Environment;
use crate::shown::{float_price, money, price};
use crate::view::View;

/// News at once, but never more often than this.
pub const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// What merely moves.
const LEVELS_EVERY: Duration = Duration::from_secs(60);
/// Equity must have moved by one in so many to be worth a write.
const EQUITY_STEP: i64 = 1_000;
/// Positions that a status shows.
const POSITIONS: usize = 20;

/// The share, whole: the operator's fields are left out and stay the operator's.
pub fn share(
    view: &View,
    environment: &Environment,
    certificate: Option<&MountedCertificate>,
    feed_since: Timestamp,
) -> TradingBotStatus {
    let condition = Condition {
        type_: FEED_HEALTHY.to_owned(),
        status: if view.feed.healthy { "True" } else { "False" }.to_owned(),
        reason: view.feed.reason.clone(),
        message: view.feed.message.clone(),
        last_transition_time: Time(feed_since),
        observed_generation: None,
    };
    TradingBotStatus {
        conditions: vec![condition],
        agent: Some(AgentStatus {
            pod: environment.pod.clone(),
            image: environment.image.clone(),
            version: view.version.clone(),
            config_hash: view.config_hash.clone(),
            started_at: Time(whole_seconds(view.started_at)),
            loop_health: view.loop_health,
            last_cycle_at: view.last_cycle_at.map(whole_seconds).map(Time),
            certificate: certificate.cloned(),
        }),
        account: Some(AccountStatus {
            currency: view.account.currency.clone(),
            equity: money(view.account.equity),
            cash: money(view.account.cash),
            day_pnl: money(view.account.day_pnl),
            realized_pnl: money(view.account.realized_pnl),
            unrealized_pnl: money(view.account.unrealized_pnl),
            drawdown_percent: money(view.account.drawdown_percent),
        }),
        trading: Some(TradingStatus {
            open_positions: i32::try_from(view.positions.len()).unwrap_or(i32::MAX),
            trades_today: i32::try_from(view.entries_today).unwrap_or(i32::MAX),
            closed_trades: i64::try_from(view.closed_trades).unwrap_or(i64::MAX),
            positions: view.positions.iter().take(POSITIONS).map(position).collect(),
            last_decision: view.last_decision.as_ref().map(|decision| DecisionStatus {
                id: decision.id.clone(),
                asset: decision.asset.clone(),
                action: decision.action.clone(),
                confidence: i32::from(decision.confidence),
                outcome: decision.outcome.clone(),
                reason: decision.reason.clone(),
                at: Time(whole_seconds(decision.at)),
            }),
        }),
        ..TradingBotStatus::default()
    }
}

fn position(position: &engine::Position) -> PositionStatus {
    PositionStatus {
        asset: position.asset.to_string(),
        side: match position.side {
            Side::Long => "Long",
            Side::Short => "Short",
        }
        .to_owned(),
        quantity: position.quantity.normalize().to_string(),
        entry_price: price(position.entry_price),
        stop: float_price(position.stop),
        unrealized_pnl: money(position.unrealized_pnl),
    }
}

/// The API server keeps whole seconds; a time that it cuts would differ from ours for ever.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The body of the server-side apply onto a version of this very bot.
///
/// # Errors
/// None in practice: a status has string keys only.
pub fn body(
    status: &TradingBotStatus,
    environment: &Environment,
    version: &str,
) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "apiVersion": TradingBot::api_version(&()),
        "kind": TradingBot::kind(&()),
        "metadata": {"name": environment.bot.name, "uid": environment.bot_uid, "resourceVersion": version},
        "status": serde_json::to_value(status)?,
    }))
}

/// How long after the last write the next is due, or `None` when nothing is worth one.
pub fn due_after(written: &View, now: &View) -> Option<Duration> {
    if is_news(written, now) {
        return Some(AT_MOST_EVERY);
    }
    let moved = (now.account.equity - written.account.equity).abs();
    let worth = moved.saturating_mul(Decimal::from(EQUITY_STEP)) >= written.account.equity.abs();
    (worth && !moved.is_zero()).then_some(LEVELS_EVERY)
}

/// Fills, a stop that moved, another configuration, another health.
fn is_news(written: &View, now: &View) -> bool {
    let positions = |view: &View| -> Vec<_> {
        view.positions.iter().map(|p| (p.id.clone(), p.quantity, p.stop.to_bits())).collect()
    };
    written.fills != now.fills
        || written.config_hash != now.config_hash
        || written.loop_health != now.loop_health
        || written.feed != now.feed
        || positions(written) != positions(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::FeedView;
    use crds::api::LoopHealth;
    use engine::{Account, BotId};

    fn view(equity: i64) -> View {
        let at: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        View {
            bot: BotId { namespace: "default".into(), name: "majors".into() },
            version: "0.1.0".into(),
            state: "Running".into(),
            config_hash: "abc".into(),
            generation: Some(1),
            started_at: at,
            events: 1,
            market_time: Some(at),
            loop_health: LoopHealth::Running,
            loop_state: "Idle".into(),
            last_cycle_at: None,
            lease_held: true,
            journal: crate::view::JournalView::default(),
            feed: FeedView { healthy: true, reason: "Replaying".into(), message: "…".into() },
            account: Account {
                currency: "USD".into(),
                equity: equity.into(),
                cash: Decimal::new(1_000_005, 3),
                day_pnl: Decimal::ZERO,
                realized_pnl: Decimal::ZERO,
                unrealized_pnl: Decimal::ZERO,
                drawdown_percent: Decimal::ZERO,
            },
            positions: Vec::new(),
            open_orders: 0,
            entries_today: 0,
            closed_trades: 0,
            fills: 0,
            last_decision: None,
            refused_config: None,
        }
    }

    fn environment() -> Environment {
        Environment::read(|name| Some(name.to_lowercase())).unwrap()
    }

    #[test]
    fn the_body_names_the_very_bot_and_no_field_of_the_operators() {
        let status = share(&view(10_000), &environment(), None, Timestamp::UNIX_EPOCH);
        insta::assert_json_snapshot!(body(&status, &environment(), "7").unwrap());
    }

    #[test]
    fn news_are_due_at_once_and_levels_once_a_minute_when_they_moved() {
        let written = view(10_000);
        let due = |change: &dyn Fn(&mut View)| {
            let mut now = view(10_000);
            change(&mut now);
            due_after(&written, &now)
        };
        assert_eq!(due(&|_| {}), None);
        assert_eq!(due(&|view| view.events += 1), None, "events alone are no news");
        assert_eq!(due(&|view| view.account.equity = 10_009.into()), None);
        assert_eq!(due(&|view| view.account.equity = 10_010.into()), Some(LEVELS_EVERY));
        assert_eq!(due(&|view| view.account.equity = 9_990.into()), Some(LEVELS_EVERY));
        assert_eq!(due(&|view| view.fills += 1), Some(AT_MOST_EVERY));
        assert_eq!(due(&|view| view.config_hash = "def".into()), Some(AT_MOST_EVERY));
        assert_eq!(due(&|view| view.loop_health = LoopHealth::Degraded), Some(AT_MOST_EVERY));
        assert_eq!(due(&|view| view.feed.reason = "ReplayFinished".into()), Some(AT_MOST_EVERY));
    }
}
