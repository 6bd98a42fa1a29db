//! From layers to the effective configuration.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::merge::{Layer, Merged, member_path};
use super::validate::{ConfigError, ConfigErrors, validate};
use super::{BotConfig, FeedSource, Risk, VenueKind};

/// Every version of the defaults, the oldest first. One that was released never changes: bots keep the
/// version that they were made with.
const VERSIONS: &[&str] = &[include_str!("../defaults/v1.yaml")];

/// The version of the defaults that new bots get.
pub const DEFAULTS_VERSION: u32 = VERSIONS.len() as u32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    version: u32,
    spec: Value,
    feed: BTreeMap<String, Value>,
    venue: BTreeMap<String, Value>,
    costs: BTreeMap<String, Value>,
}

static DEFAULTS: LazyLock<Result<Vec<Defaults>, String>> = LazyLock::new(|| {
    let parse = |(text, version): (&&str, u32)| {
        let document = crate::yaml::documents(text).map_err(|e| e.to_string())?.pop().unwrap_or_default();
        let defaults: Defaults = serde_json::from_value(document).map_err(|e| e.to_string())?;
        if defaults.version == version {
            Ok(defaults)
        } else {
            Err(format!("version {version} says that it is version {}", defaults.version))
        }
    };
    VERSIONS.iter().zip(1..).map(parse).collect()
});

/// The defaults of a version.
fn defaults(version: u32) -> Result<&'static Defaults, ConfigError> {
    let all = DEFAULTS
        .as_ref()
        .map_err(|error| ConfigError::new("defaults", format!("cannot be read: {error}")))?;
    let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
    index.and_then(|index| all.get(index)).ok_or_else(|| {
        ConfigError::new(
            "defaults",
            format!("version {version} is unknown; this build knows 1 to {DEFAULTS_VERSION}"),
        )
    })
}

/// The defaults of each field that has one, by its path (`risk.stop.minPercent`, `feeds[].replay.speed`),
/// as new bots get them.
///
/// # Errors
/// None in practice: the defaults are part of this crate.
pub fn default_values() -> Result<BTreeMap<String, Value>, ConfigError> {
    fn leaves(value: &Value, path: &str, into: &mut BTreeMap<String, Value>) {
        let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Object(map)
                if !map.is_empty() && !["requests", "limits"].iter().any(|key| path.ends_with(key)) =>
            {
                map.iter().for_each(|(key, value)| leaves(value, &at(key), into));
            }
            Value::Array(members) => {
                members.iter().for_each(|member| leaves(member, &format!("{path}[]"), into))
            }
            // Nothing at all is no default.
            Value::Object(map) if map.is_empty() => {}
            leaf => {
                into.insert(path.to_owned(), leaf.clone());
            }
        }
    }
    let Defaults { version: _, spec, feed, venue, costs } = defaults(DEFAULTS_VERSION)?;
    let mut values = BTreeMap::new();
    leaves(spec, "", &mut values);
    for (kind, value) in feed {
        leaves(value, &format!("feeds[].{kind}"), &mut values);
    }
    for (kind, value) in venue {
        leaves(value, &format!("venues[].{kind}"), &mut values);
        if let Some(preset) = value.pointer("/costs/preset").and_then(Value::as_str)
            && let Some(costs) = costs.get(preset)
        {
            leaves(costs, &format!("venues[].{kind}.costs"), &mut values);
        }
    }
    Ok(values)
}

/// What all layers together say.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// How the bot trades: the agent's input.
    pub bot: BotConfig,
    /// How its agent runs: `agent`, `storage`, `reconciliation` and `expose`, merged. The operator's input.
    pub deployment: Value,
    /// The layer of each value, by its path.
    pub provenance: BTreeMap<String, Layer>,
}

/// Merges a bot's spec over the newest defaults, resolves its references and validates the result.
///
/// # Errors
/// Every problem found, each with the field, the value and the remedy.
pub fn resolve(spec: &Value) -> Result<Effective, ConfigErrors> {
    resolve_with(spec, DEFAULTS_VERSION)
}

/// [`resolve`] over the version of the defaults that a bot was made with.
///
/// # Errors
/// As [`resolve`], and when there is no such version.
pub fn resolve_with(spec: &Value, version: u32) -> Result<Effective, ConfigErrors> {
    let defaults = defaults(version)?;
    let mut merged = Merged::from_layers([(Layer::Bot, spec), (Layer::Default, &defaults.spec)]);
    underlay_kinds(&mut merged, "feeds", &defaults.feed);
    underlay_kinds(&mut merged, "venues", &defaults.venue);
    merged.underlay_members("venues", Layer::Default, |venue| {
        let preset = venue.pointer("/paper/costs/preset")?.as_str()?;
        Some(("paper.costs", defaults.costs.get(preset)?.clone()))
    });
    // An asset's reference may be left out when there is only one thing it can mean.
    for (list, key) in [("feeds", "feed"), ("venues", "venue")] {
        if let Some(only) = only_name(&merged.value, list) {
            merged.underlay_members("assets", Layer::Default, |_| Some((key, only.clone())));
        }
    }
    let limits = asset_limits(&merged.value);
    merged.underlay_members("assets", Layer::Default, |_| Some(("risk", limits.clone())));

    let Merged { mut value, provenance } = merged;
    let deployment = take_deployment(&mut value);
    require(&value)?;
    // Before the assets, which inherit of it: what is wrong here is not to be told of them.
    if let Some(risk) = value.get("risk") {
        serde_path_to_error::deserialize::<_, Risk>(risk).map_err(|error| {
            let place = error.path().to_string();
            let field = if place == "." { "risk".to_owned() } else { format!("risk.{place}") };
            ConfigError::new(field, error.into_inner().to_string())
        })?;
    }
    let bot: BotConfig = serde_path_to_error::deserialize(&value).map_err(|error| {
        let field = named_path(&value, error.path());
        ConfigError::new(field, error.into_inner().to_string())
    })?;
    validate(&bot)?;
    Ok(Effective { bot, deployment, provenance })
}

fn underlay_kinds(merged: &mut Merged, list: &str, kinds: &BTreeMap<String, Value>) {
    merged.underlay_members(list, Layer::Default, |member| {
        ["replay", "paper"]
            .into_iter()
            .find(|kind| member.get(kind).is_some())
            .and_then(|kind| Some((kind, kinds.get(kind)?.clone())))
    });
}

fn only_name(value: &Value, list: &str) -> Option<Value> {
    match value.get(list)?.as_array()?.as_slice() {
        [only] => only.get("name").cloned(),
        _ => None,
    }
}

/// The part of the bot's limits that an asset may override.
fn asset_limits(value: &Value) -> Value {
    let limit = |key: &str| value.pointer(&format!("/risk/{key}")).cloned().unwrap_or_default();
    json!({"maxPositionPercent": limit("maxPositionPercent"), "stop": limit("stop")})
}

fn take_deployment(value: &mut Value) -> Value {
    let mut deployment = Map::new();
    if let Some(map) = value.as_object_mut() {
        for key in ["agent", "storage", "reconciliation", "expose"] {
            deployment.extend(map.remove_entry(key));
        }
    }
    Value::Object(deployment)
}

/// Names what a person forgot, where the parser would only say "missing field".
fn require(value: &Value) -> Result<(), ConfigError> {
    let names = |list: &str| -> Vec<String> {
        let members = value.get(list).and_then(Value::as_array);
        members.into_iter().flatten().filter_map(|m| Some(m.get("name")?.as_str()?.to_owned())).collect()
    };
    for (list, remedy) in [
        ("assets", "name at least one, such as [{pair: BTC-USD}]"),
        ("feeds", "add a source of prices, such as {name: bars, replay: {data: […]}}"),
    ] {
        if value.get(list).and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err(ConfigError::new(list, format!("there are none; {remedy}")));
        }
    }
    for (list, kind) in [("feeds", "replay"), ("venues", "paper")] {
        let members = value.get(list).and_then(Value::as_array);
        for (index, member) in members.into_iter().flatten().enumerate() {
            if member.get(kind).is_none() {
                let path = member_path(list, index, member);
                return Err(ConfigError::new(path, format!("no kind is set; set {kind}")));
            }
        }
    }
    let assets = value.get("assets").and_then(Value::as_array);
    for (index, asset) in assets.into_iter().flatten().enumerate() {
        for (key, list) in [("feed", "feeds"), ("venue", "venues")] {
            if asset.get(key).is_none() {
                let path = member_path("assets", index, asset);
                let choices = names(list).join(", ");
                return Err(ConfigError::new(
                    format!("{path}.{key}"),
                    format!("there are several {list}; name one of {choices}"),
                ));
            }
        }
    }
    Ok(())
}

/// `feeds[bars].replay.speed` for a parser's `feeds[0].replay.speed`.
fn named_path(root: &Value, path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut at = Some(root);
    let mut named = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                let member = at.and_then(|value| value.get(index));
                named = member_path(&named, *index, member.unwrap_or(&Value::Null));
                at = member;
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                at = at.and_then(|value| value.get(key));
                if !named.is_empty() {
                    named.push('.');
                }
                named.push_str(key);
            }
            Segment::Unknown => {}
        }
    }
    named
}

impl BotConfig {
    /// The replay data of an asset, when its feed is a replay.
    pub fn replay_of(&self, asset: &super::AssetConfig) -> Option<(&super::Replay, &super::ReplayData)> {
        let FeedSource::Replay(replay) = &self.feed(&asset.feed)?.source;
        replay.data.iter().find(|data| data.pair == asset.pair).map(|data| (replay, data))
    }

    /// The paper account of an asset's venue.
    pub fn paper_of(&self, asset: &super::AssetConfig) -> Option<&super::Paper> {
        let VenueKind::Paper(paper) = &self.venue(&asset.venue)?.kind;
        Some(paper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::State;

    pub(crate) fn smallest() -> Value {
        json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv.gz"}]}
            ]}}]
        })
    }

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut spec = smallest();
        change(&mut spec);
        resolve(&spec).unwrap_err().to_string()
    }

    #[test]
    fn the_smallest_bot_gets_every_default() {
        let effective = resolve(&smallest()).unwrap();
        assert_eq!(effective.bot.state, State::Running);
        let asset = &effective.bot.assets[0];
        assert_eq!((asset.feed.as_str(), asset.venue.as_str()), ("bars", "paper"));
        insta::assert_yaml_snapshot!(effective.bot);
        insta::assert_yaml_snapshot!("provenance", effective.provenance);
        insta::assert_yaml_snapshot!("deployment", effective.deployment);
    }

    #[test]
    fn every_version_of_the_defaults_makes_a_bot_and_no_other_version_does() {
        for version in 1..=DEFAULTS_VERSION {
            resolve_with(&smallest(), version).unwrap();
        }
        for version in [0, DEFAULTS_VERSION + 1] {
            let message = resolve_with(&smallest(), version).unwrap_err().to_string();
            assert!(message.contains(&version.to_string()), "{message}");
        }
    }

    #[test]
    fn an_assets_limits_override_the_bots() {
        let mut spec = smallest();
        spec["assets"][0]["risk"] = json!({"maxPositionPercent": 60});
        spec["risk"] = json!({"maxPositionPercent": 10, "stop": {"minPercent": 2}});
        let effective = resolve(&spec).unwrap();
        let limits = &effective.bot.assets[0].risk;
        assert_eq!(limits.max_position_percent, 60.into());
        assert_eq!(limits.stop.min_percent, 2.into());
        assert_eq!(effective.bot.risk.max_position_percent, 10.into());
    }

    #[test]
    fn a_cost_key_overrides_its_preset() {
        let mut spec = smallest();
        spec["venues"] = json!([{"name": "p", "paper": {"costs": {"preset": "coinbase", "takerBps": 40}}}]);
        let bot = resolve(&spec).unwrap().bot;
        let costs = &bot.paper_of(&bot.assets[0]).unwrap().costs;
        assert_eq!((costs.taker_bps, costs.maker_bps), (40.into(), 60.into()));
    }

    #[test]
    fn every_problem_names_field_value_and_remedy() {
        let cases: Vec<(String, &[&str])> = vec![
            (refused(|s| s["assets"] = json!([])), &["assets", "at least one"]),
            (refused(|s| s["feeds"] = json!([])), &["feeds", "add a source"]),
            (refused(|s| s["feeds"][0]["replay"] = Value::Null), &["feeds[bars]", "set replay"]),
            (refused(|s| s["assets"][0]["pair"] = json!("btc/usd")), &["assets[btc/usd].pair", "BTC-USD"]),
            (
                refused(|s| s["assets"][0]["feed"] = json!("oanda")),
                &["assets[BTC-USD].feed", "oanda", "bars"],
            ),
            (refused(|s| s["risk"] = json!({"cooldown": "5 min"})), &["risk.cooldown", "5 min", "5m"]),
            (
                refused(|s| s["risk"] = json!({"maxPositionPercent": 0.5})),
                &["risk.maxPositionPercent", "quotes"],
            ),
            (
                refused(|s| s["risk"] = json!({"maxPositionPercent": 101})),
                &["risk.maxPositionPercent", "101", "100"],
            ),
            (refused(|s| s["risk"] = json!({"nope": 1})), &["risk", "nope"]),
            (
                refused(|s| s["risk"] = json!({"stop": {"minPercent": true}})),
                &["spec.risk.stop.minPercent", "true"],
            ),
            (refused(|s| s["risk"] = json!([])), &["spec.risk"]),
            (
                refused(|s| s["feeds"][0]["replay"]["data"][0]["configMaps"][0]["key"] = json!("../h1.csv")),
                &["feeds[bars].replay.data[BTC-USD].configMaps[0].key", "../h1.csv"],
            ),
            (
                refused(|s| s["risk"] = json!({"stop": {"minPercent": 5, "maxPercent": 2}})),
                &["risk.stop.minPercent", "5", "2"],
            ),
        ];
        for (message, parts) in cases {
            for part in parts {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
        }
    }

    #[test]
    fn several_feeds_need_a_choice() {
        let message = refused(|spec| {
            let mut second = spec["feeds"][0].clone();
            second["name"] = json!("other");
            spec["feeds"].as_array_mut().unwrap().push(second);
        });
        assert!(message.contains("assets[BTC-USD].feed") && message.contains("bars, other"), "{message}");
    }

    #[test]
    fn names_of_feeds_and_venues_are_those_that_the_schema_takes() {
        for name in ["Bars", "1st", "bars-", "bärs", "", &"b".repeat(64)] {
            let message = refused(|spec| spec["feeds"][0]["name"] = json!(name));
            assert!(message.contains("is no name; use lower-case letters"), "{name}: {message}");
        }
        let message = refused(|spec| spec["venues"] = json!([{"name": "Paper", "paper": {}}]));
        assert!(message.starts_with("spec.venues[Paper].name: \"Paper\" is no name"), "{message}");
    }

    #[test]
    fn a_file_of_bars_counts_once() {
        let message = refused(|spec| {
            let files = &mut spec["feeds"][0]["replay"]["data"][0]["configMaps"];
            *files = json!([files[0], files[0]]);
        });
        assert!(message.contains(".configMaps[") && message.contains("appears twice"), "{message}");
    }
}
