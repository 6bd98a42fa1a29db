//! Tables for people.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use engine::Trade;
use rust_decimal::Decimal;

use crate::shown::{float_price, money, price};
use crate::view::View;

/// A table with this head.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    table
}

pub fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// The lines of a table without the blanks that fill its last column.
pub fn lines(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Names and what they stand for, one a line.
pub fn facts<const N: usize>(facts: [(&str, String); N]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for (name, value) in facts {
        table.add_row([name.to_owned(), value]);
    }
    lines(&table)
}

/// Closed trades, the oldest first, and their sum.
pub fn trades(trades: &[Trade]) -> String {
    if trades.is_empty() {
        return "no trade has been closed yet".to_owned();
    }
    let mut table =
        table(&["closed", "asset", "side", "quantity", "entry", "exit", "costs", "net", "R", "by"]);
    for trade in trades {
        table.add_row([
            Cell::new(trade.closed_at),
            Cell::new(&trade.asset),
            Cell::new(format!("{:?}", trade.side)),
            right(trade.quantity.normalize()),
            right(price(trade.entry_price)),
            right(price(trade.exit_price)),
            right(money(trade.costs)),
            right(money(trade.net)),
            right(format!("{:.2}", trade.r_multiple)),
            Cell::new(format!("{:?}", trade.exit_reason)),
        ]);
    }
    let net: Decimal = trades.iter().map(|trade| trade.net).sum();
    format!("{}\n\n{} trades shown, net {}", lines(&table), trades.len(), money(net))
}

/// A bot at a glance, and its positions.
pub fn status(view: &View) -> String {
    let time = |time: Option<jiff::Timestamp>| time.map_or_else(|| "–".to_owned(), |time| time.to_string());
    let account = &view.account;
    let currency = &account.currency;
    let decision = view.last_decision.as_ref().map_or_else(
        || "–".to_owned(),
        |decision| {
            format!(
                "{} {} ({}): {}, {}",
                decision.action, decision.asset, decision.confidence, decision.outcome, decision.reason
            )
        },
    );
    let mut config: String = view.config_hash.chars().take(12).collect();
    if let Some(reason) = &view.refused_config {
        config.push_str(&format!("; a newer one is refused: {reason}"));
    }
    let journal = match &view.journal.trouble {
        None => format!("{} events", view.events),
        Some(trouble) => format!("{trouble}: {}", view.journal.message),
    };
    let facts = facts([
        ("bot", view.bot.to_string()),
        ("state", format!("{}, loop {}", view.state, view.loop_health.as_str())),
        ("feed", format!("{}: {}", view.feed.reason, view.feed.message)),
        ("journal", journal),
        ("market time", time(view.market_time)),
        ("last cycle", time(view.last_cycle_at)),
        ("equity", format!("{} {currency}", money(account.equity))),
        ("cash", format!("{} {currency}", money(account.cash))),
        ("day P&L", format!("{} {currency}", money(account.day_pnl))),
        ("realized", format!("{} {currency}", money(account.realized_pnl))),
        ("unrealized", format!("{} {currency}", money(account.unrealized_pnl))),
        ("drawdown", format!("{} %", money(account.drawdown_percent))),
        ("trades", format!("{} closed, {} entries today", view.closed_trades, view.entries_today)),
        ("last decision", decision),
        ("config", config),
        ("agent", view.version.clone()),
    ]);
    if view.positions.is_empty() {
        return format!("{facts}\n\nno open position");
    }
    let mut positions = table(&["position", "side", "quantity", "entry", "mark", "stop", "unrealized"]);
    for position in &view.positions {
        positions.add_row([
            Cell::new(&position.asset),
            Cell::new(format!("{:?}", position.side)),
            right(position.quantity.normalize()),
            right(price(position.entry_price)),
            right(price(position.mark)),
            right(float_price(position.stop)),
            right(money(position.unrealized_pnl)),
        ]);
    }
    format!("{facts}\n\n{}", lines(&positions))
}
