//! What a well-formed configuration must also be: in range, and consistent with itself.

use std::collections::BTreeSet;
use std::fmt;

use rust_decimal::Decimal;

use super::{
    AssetConfig, AssetRisk, BotConfig, ConfigMapKey, Exits, FeedSource, Models, Paper, Replay, Risk,
    Schedule, Stop, VenueKind,
};
use crate::asset::AssetClass;
use crate::{Numeric, Timeframe};

/// A problem with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {message}")]
pub struct ConfigError {
    /// The path of the field within the spec.
    pub field: String,
    /// The value, what is wrong with it and the remedy.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// All problems of a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The problems, if there are any.
    pub(crate) fn of(problems: Vec<ConfigError>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// Each problem.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Problems found so far.
#[derive(Default)]
struct Found(Vec<ConfigError>);

impl Found {
    fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigError::new(field, message));
    }

    /// Above `low` (or equal to it when `inclusive`) and at most `high`.
    fn range(&mut self, field: &str, value: Numeric, low: i64, inclusive: bool, high: i64) {
        let above = if inclusive { value.0 >= Decimal::from(low) } else { value.0 > Decimal::from(low) };
        if !above || value.0 > Decimal::from(high) {
            let from = if inclusive { "at least" } else { "more than" };
            self.push(field, format!("{value} is out of range; set {from} {low} and at most {high}"));
        }
    }

    /// As the schema asks for: lower-case letters, digits and dashes, a letter first, no dash last, at most 63.
    fn name(&mut self, list: &str, name: &str) {
        let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || name.ends_with('-') || name.len() > 63 || !name.as_bytes().iter().all(is_inner) {
            self.push(
                format!("{list}[{name}].name"),
                format!("{name:?} is no name; use lower-case letters, digits and dashes, beginning with a letter, at most 63"),
            );
        }
    }

    fn unique<'a>(&mut self, list: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.push(format!("{list}[{name}]"), "appears twice; remove one or rename it");
            }
        }
    }
}

/// Checks ranges and references. Destructures without `..`: a new field does not compile until it is
/// considered here.
pub(super) fn validate(config: &BotConfig) -> Result<(), ConfigErrors> {
    let BotConfig { state: _, assets, feeds, venues, schedule, models, risk, exits } = config;
    let mut found = Found::default();

    let pairs: Vec<String> = assets.iter().map(|asset| asset.pair.to_string()).collect();
    found.unique("assets", pairs.iter().map(String::as_str));
    found.unique("feeds", feeds.iter().map(|feed| feed.name.as_str()));
    found.unique("venues", venues.iter().map(|venue| venue.name.as_str()));
    for asset in assets {
        check_asset(config, asset, &mut found);
    }
    for feed in feeds {
        found.name("feeds", &feed.name);
        let FeedSource::Replay(replay) = &feed.source;
        let decision = models.preset.decision_timeframe();
        check_replay(&format!("feeds[{}].replay", feed.name), replay, decision, &mut found);
    }
    for venue in venues {
        found.name("venues", &venue.name);
        let VenueKind::Paper(paper) = &venue.kind;
        check_paper(&format!("venues[{}].paper", venue.name), paper, &mut found);
    }
    // One ledger has one currency until there are conversion rates.
    let currencies: BTreeSet<&str> = venues
        .iter()
        .map(|venue| {
            let VenueKind::Paper(paper) = &venue.kind;
            paper.currency.as_str()
        })
        .collect();
    if currencies.len() > 1 {
        let all = currencies.into_iter().collect::<Vec<_>>().join(" and ");
        found.push("venues", format!("their currencies differ ({all}); use one currency in a bot"));
    }
    let Schedule { interval } = schedule;
    if interval.as_secs() < 1 {
        found.push("schedule.interval", format!("{interval} is too short; set at least 1s"));
    }
    let Models { preset: _ } = models;
    check_risk(risk, &mut found);
    check_exits(exits, &mut found);

    ConfigErrors::of(found.0).map_or(Ok(()), Err)
}

fn check_asset(config: &BotConfig, asset: &AssetConfig, found: &mut Found) {
    let AssetConfig { pair, feed, venue, risk } = asset;
    let path = format!("assets[{pair}]");
    if pair.class() != AssetClass::Crypto {
        found.push(
            format!("{path}.pair"),
            format!(
                "{pair} is not a crypto pair; this version knows no trading sessions, use one such as BTC-USD"
            ),
        );
    }
    let names = |names: Vec<&str>| names.join(", ");
    match config.feed(feed) {
        None => {
            let known = names(config.feeds.iter().map(|feed| feed.name.as_str()).collect());
            found.push(format!("{path}.feed"), format!("there is no feed `{feed}`; name one of {known}"));
        }
        Some(_) if config.replay_of(asset).is_none() => found.push(
            format!("{path}.feed"),
            format!("the feed `{feed}` has no data for {pair}; add it to feeds[{feed}].replay.data"),
        ),
        Some(_) => {}
    }
    match config.paper_of(asset) {
        None => {
            let known = names(config.venues.iter().map(|venue| venue.name.as_str()).collect());
            found.push(format!("{path}.venue"), format!("there is no venue `{venue}`; name one of {known}"));
        }
        Some(paper) if paper.currency != pair.quote() => found.push(
            format!("{path}.venue"),
            format!(
                "{pair} is quoted in {} and the account `{venue}` is in {}; use an account in {}",
                pair.quote(),
                paper.currency,
                pair.quote()
            ),
        ),
        Some(_) => {}
    }
    // What an asset has from the bot is checked once, there.
    let AssetRisk { max_position_percent, stop } = risk;
    if *max_position_percent != config.risk.max_position_percent {
        found.range(&format!("{path}.risk.maxPositionPercent"), *max_position_percent, 0, false, 100);
    }
    if *stop != config.risk.stop {
        check_stop(&format!("{path}.risk.stop"), stop, found);
    }
}

fn check_replay(path: &str, replay: &Replay, decision: Timeframe, found: &mut Found) {
    let Replay { speed, warmup: _, on_end: _, data } = replay;
    found.range(&format!("{path}.speed"), *speed, 0, true, 1_000_000_000);
    let pairs: Vec<String> = data.iter().map(|data| data.pair.to_string()).collect();
    found.unique(&format!("{path}.data"), pairs.iter().map(String::as_str));
    for data in data {
        if data.timeframe > decision {
            found.push(
                format!("{path}.data[{}].timeframe", data.pair),
                format!(
                    "{} bars cannot make the {decision} bars that the panel decides on; use finer ones",
                    data.timeframe
                ),
            );
        }
        let place = format!("{path}.data[{}].configMaps", data.pair);
        match data.config_maps.len() {
            0 => found.push(place.clone(), "there are none; name at least one"),
            1..=64 => {}
            many => found.push(place.clone(), format!("there are {many}; name at most 64, of larger files")),
        }
        let files: Vec<String> =
            data.config_maps.iter().map(|ConfigMapKey { name, key }| format!("{name}/{key}")).collect();
        found.unique(&place, files.iter().map(String::as_str));
        for (index, ConfigMapKey { name: _, key }) in data.config_maps.iter().enumerate() {
            // The key becomes a file's name.
            if !is_bars_file(key) {
                found.push(
                    format!("{place}[{index}].key"),
                    format!("{key:?} is no file of bars; name a key of letters, digits and -._ that ends in .csv or .csv.gz"),
                );
            }
        }
    }
}

fn is_bars_file(key: &str) -> bool {
    let stem = key.strip_suffix(".gz").unwrap_or(key).strip_suffix(".csv").unwrap_or_default();
    let plain = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    plain && !stem.is_empty() && key.len() <= 253
}

fn check_paper(path: &str, paper: &Paper, found: &mut Found) {
    let Paper { starting_cash, currency: _, costs } = paper;
    found.range(&format!("{path}.startingCash"), *starting_cash, 0, false, 1_000_000_000_000);
    let super::Costs { preset: _, slippage_bps, half_spread_bps, taker_bps, maker_bps } = costs;
    for (key, value) in [
        ("slippageBps", slippage_bps),
        ("halfSpreadBps", half_spread_bps),
        ("takerBps", taker_bps),
        ("makerBps", maker_bps),
    ] {
        found.range(&format!("{path}.costs.{key}"), *value, 0, true, 1000);
    }
}

fn check_risk(risk: &Risk, found: &mut Found) {
    let Risk {
        confidence_floor,
        max_entries_per_day,
        max_open_positions,
        cooldown: _,
        risk_per_trade_percent,
        max_position_percent,
        max_gross_leverage,
        stop,
    } = risk;
    found.range("risk.confidenceFloor", i64::from(*confidence_floor).into(), 0, true, 100);
    found.range("risk.maxEntriesPerDay", i64::from(*max_entries_per_day).into(), 1, true, 1000);
    found.range("risk.maxOpenPositions", i64::from(*max_open_positions).into(), 1, true, 64);
    found.range("risk.riskPerTradePercent", *risk_per_trade_percent, 0, false, 100);
    found.range("risk.maxPositionPercent", *max_position_percent, 0, false, 100);
    found.range("risk.maxGrossLeverage", *max_gross_leverage, 0, false, 5);
    check_stop("risk.stop", stop, found);
}

fn check_stop(path: &str, stop: &Stop, found: &mut Found) {
    let Stop { atr_multiple, min_percent, max_percent } = stop;
    found.range(&format!("{path}.atrMultiple"), *atr_multiple, 0, false, 100);
    found.range(&format!("{path}.minPercent"), *min_percent, 0, false, 50);
    found.range(&format!("{path}.maxPercent"), *max_percent, 0, false, 50);
    if min_percent > max_percent {
        found.push(
            format!("{path}.minPercent"),
            format!("{min_percent} is above maxPercent {max_percent}; lower it or raise maxPercent"),
        );
    }
}

fn check_exits(exits: &Exits, found: &mut Found) {
    let Exits { break_even, trail } = exits;
    let super::BreakEven { enabled: _, at_r } = break_even;
    found.range("exits.breakEven.atR", *at_r, 0, false, 100);
    let super::Trail { enabled: _, from_r, atr_multiple, min_r } = trail;
    found.range("exits.trail.fromR", *from_r, 0, false, 100);
    found.range("exits.trail.atrMultiple", *atr_multiple, 0, false, 100);
    found.range("exits.trail.minR", *min_r, 0, false, 100);
}
