//! Stage two: from a spec to something that can be built, or to a reason why not.

use crds::api::{Deployment, Summary};
use crds::config::{BotConfig, ConfigErrors, Effective, FeedSource, Rendering, resolve};

use super::bot::{Bot, Owner};
use super::dereference::Dereferenced;
use crate::reason::Reason;

/// A bot that can be built. Builders take nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Whose the children are.
    pub owner: Owner,
    /// The document that the agent reads.
    pub rendering: Rendering,
    /// The hash of what an agent cannot change while it runs.
    pub restart_hash: String,
    /// How the agent's pod runs.
    pub deployment: Deployment,
    /// The agent's image.
    pub image: String,
    /// The image that a bot which names none runs: kept with the Deployment.
    pub default_image: String,
    /// ConfigMaps with bars, sorted.
    pub bars: Vec<String>,
    /// The configuration in words.
    pub summary: Summary,
}

/// A bot that cannot be built before a person changes something.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The stored object is none that this version can read.
    #[error("the stored object cannot be read: {0}; apply the manifest again")]
    Unreadable(String),
    /// The spec makes no configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A replay feed names ConfigMaps that do not exist.
    #[error(
        "the replay feed names ConfigMaps that do not exist in namespace {namespace}: {names}; create them"
    )]
    MissingConfigMaps {
        /// The bot's namespace.
        namespace: String,
        /// Their names.
        names: String,
    },
}

impl Refusal {
    /// The reason, as condition, event and metric name it.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unreadable(_) | Self::Config(_) => Reason::InvalidSpec,
            Self::MissingConfigMaps { .. } => Reason::MissingConfigMap,
        }
    }
}

/// Parses a spec, with what it refers to.
///
/// # Errors
/// See [`Refusal`].
pub fn validate(
    bot: &Bot,
    owner: &Owner,
    found: Dereferenced,
    agent_image: &str,
) -> Result<Validated, Refusal> {
    let Dereferenced { missing_config_maps, image_in_use } = found;
    let effective = resolve(&bot.spec)?;
    let deployment = Deployment::from_effective(&effective).map_err(ConfigErrors::from)?;
    let Effective { bot: config, deployment: _, provenance: _ } = effective;
    if !missing_config_maps.is_empty() {
        return Err(Refusal::MissingConfigMaps {
            namespace: owner.namespace.clone(),
            names: missing_config_maps.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    let unreadable = |error: &dyn std::fmt::Display| Refusal::Unreadable(error.to_string());
    let restart_hash = config.restart_hash().map_err(|error| unreadable(&error))?;
    let (summary, bars) = describe(&config);
    let rendering = Rendering::new(config, bot.metadata.generation.unwrap_or_default())
        .map_err(|error| unreadable(&error))?;
    // A new operator brings a new default; a bot that runs keeps the image that it was made with.
    let default_image = image_in_use.unwrap_or_else(|| agent_image.to_owned());
    let image = deployment.image.clone().unwrap_or_else(|| default_image.clone());
    Ok(Validated {
        owner: owner.clone(),
        rendering,
        restart_hash,
        deployment,
        image,
        default_image,
        bars,
        summary,
    })
}

/// The words of the summary, and the ConfigMaps to mount.
fn describe(config: &BotConfig) -> (Summary, Vec<String>) {
    let BotConfig { state, assets, feeds, venues, schedule: _, models, risk: _, exits: _ } = config;
    let mut bars: Vec<String> = feeds
        .iter()
        .flat_map(|feed| match &feed.source {
            FeedSource::Replay(replay) => &replay.data,
        })
        .flat_map(|data| data.config_maps.iter().map(|reference| reference.name.clone()))
        .collect();
    bars.sort();
    bars.dedup();
    let summary = Summary {
        state: state.as_str().to_owned(),
        venues: venues.iter().map(|venue| venue.name.clone()).collect::<Vec<_>>().join(", "),
        models: models.preset.as_str().to_owned(),
        assets: assets.iter().map(|asset| asset.pair.to_string()).collect::<Vec<_>>().join(", "),
    };
    (summary, bars)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn spec() -> Value {
        json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [{
                "pair": "BTC-USD", "timeframe": "1h",
                "configMaps": [{"name": "btc-h2", "key": "b.csv.gz"}, {"name": "btc-h1", "key": "a.csv.gz"}]
            }]}}]
        })
    }

    fn bot(spec: Value) -> Bot {
        let metadata = json!({
            "name": "paper-btc", "namespace": "trading", "generation": 3,
            "uid": "0f7b1a52-9a0e-4c55-8f39-5e4f3c1c2d10"
        });
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn validate_with(spec: Value, found: Dereferenced) -> Result<Validated, Refusal> {
        let bot = bot(spec);
        validate(&bot, &Owner::of(&bot.metadata).unwrap(), found, "example.com/agent:1.0")
    }

    /// The bot of every builder's golden file.
    pub(crate) fn validated() -> Validated {
        validate_with(spec(), Dereferenced::default()).unwrap()
    }

    #[test]
    fn a_valid_spec_says_what_is_built() {
        let validated = validated();
        assert_eq!(validated.bars, ["btc-h1", "btc-h2"]);
        assert_eq!(validated.rendering.generation, 3);
        assert_eq!(validated.image, "example.com/agent:1.0");
        assert_eq!(
            validated.summary,
            Summary {
                state: "Running".into(),
                venues: "paper".into(),
                models: "rules".into(),
                assets: "BTC-USD".into()
            }
        );
    }

    #[test]
    fn a_bot_keeps_the_image_that_it_was_made_with_until_its_spec_names_one() {
        let in_use =
            || Dereferenced { image_in_use: Some("example.com/agent:0.9".into()), ..Default::default() };
        let kept = validate_with(spec(), in_use()).unwrap();
        assert_eq!(
            (kept.image.as_str(), kept.default_image.as_str()),
            ("example.com/agent:0.9", "example.com/agent:0.9")
        );
        let mut named = spec();
        named["agent"] = json!({"image": "example.com/agent:1.1"});
        let named = validate_with(named, in_use()).unwrap();
        assert_eq!(
            (named.image.as_str(), named.default_image.as_str()),
            ("example.com/agent:1.1", "example.com/agent:0.9")
        );
    }

    #[test]
    fn each_refusal_names_the_field_or_the_thing_and_the_remedy() {
        let missing =
            Dereferenced { missing_config_maps: ["btc-h1".to_owned()].into(), ..Default::default() };
        let mut rubbish = spec();
        rubbish["assets"] = json!([{"pair": "rubbish"}]);
        let cases = [
            (json!({"assets": [{"pair": "BTC-USD"}]}), Dereferenced::default(), Reason::InvalidSpec, "feeds"),
            (rubbish, Dereferenced::default(), Reason::InvalidSpec, "assets[rubbish].pair"),
            (spec(), missing, Reason::MissingConfigMap, "btc-h1"),
        ];
        for (spec, found, reason, part) in cases {
            let refusal = validate_with(spec, found).unwrap_err();
            assert_eq!(refusal.reason(), reason);
            assert!(refusal.to_string().contains(part), "{refusal}");
        }
    }
}
