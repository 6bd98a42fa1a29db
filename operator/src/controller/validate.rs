//! Stage two: from a spec to something that can be built, or to a reason why not.

use std::sync::Arc;

use crds::api::{Deployment, Reconciliation, Summary};
use crds::config::{
    BotConfig, ConfigErrors, DEFAULTS_VERSION, Effective, FeedSource, Rendering, resolve_with,
};

use super::bot::{Bot, Owner};
use super::build::{NetworkPolicyOptions, annotation};
use super::dereference::Dereferenced;
use crate::reason::Reason;
use crate::watch::HostConflict;

/// What the operator was installed with.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// The image of bots that name none.
    pub agent_image: String,
    /// The Secrets to pull agents' images with, in the bots' namespaces.
    pub agent_image_pull_secrets: Arc<[String]>,
    /// What the network policies of all bots have in common.
    pub network_policy: Arc<NetworkPolicyOptions>,
}

/// A bot that can be built. Builders take nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Whose the children are.
    pub owner: Owner,
    /// Whether the children are to be as built.
    pub reconciliation: Reconciliation,
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
    /// The Secrets to pull it with.
    pub image_pull_secrets: Arc<[String]>,
    /// The version of the defaults that it was made with: kept with the Deployment.
    pub defaults_version: u32,
    /// What the network policies of all bots have in common.
    pub network_policy: Arc<NetworkPolicyOptions>,
    /// ConfigMaps with bars, sorted.
    pub bars: Vec<String>,
    /// The bots, this one among them, whose host's certificate is the same; empty without an issuer.
    pub certificate_users: Vec<Owner>,
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
    /// The bot was made with defaults that this operator does not have.
    #[error(
        "the bot was made with version {version} of the defaults and this operator knows 1 to {DEFAULTS_VERSION}; \
         install a newer operator, or move the bot to the defaults of this one: \
         kubectl -n {namespace} annotate deployment {bot} {annotation}-",
        annotation = annotation::DEFAULTS_VERSION
    )]
    UnknownDefaults {
        /// The version, as the Deployment says it.
        version: String,
        /// The bot's namespace.
        namespace: String,
        /// The bot's name.
        bot: String,
    },
    /// A replay feed names ConfigMaps that do not exist.
    #[error(
        "the replay feed names ConfigMaps that do not exist in namespace {namespace}: {names}; create them"
    )]
    MissingConfigMaps {
        /// The bot's namespace.
        namespace: String,
        /// Their names.
        names: String,
        /// What an agent that runs can take over all the same: its bars are mounted, and limits that were
        /// lowered must not wait for others.
        live: Option<Box<Validated>>,
    },
    /// An issuer is named and cert-manager is not there.
    #[error(
        "spec.expose.tls.issuerRef: the cluster has no Certificate of cert-manager.io/v1; install cert-manager, or leave \
         issuerRef out and put a certificate into Secret {secret}"
    )]
    CertManagerMissing {
        /// The Secret.
        secret: String,
        /// As above.
        live: Option<Box<Validated>>,
    },
    /// A Gateway is named and the Gateway API is not there.
    #[error(
        "spec.expose.gateway: the cluster has no HTTPRoute of gateway.networking.k8s.io/v1; install the Gateway API, or use \
         expose.ingress"
    )]
    GatewayApiMissing {
        /// As above.
        live: Option<Box<Validated>>,
    },
    /// The API server has not said yet whether it has a kind that the address needs.
    #[error(
        "expose: the API server does not say whether it has {kind}, or does not list any; it is asked again"
    )]
    KindUnknown {
        /// The kind.
        kind: &'static str,
        /// As above.
        live: Option<Box<Validated>>,
    },
    /// Another bot stands against the address.
    #[error("{conflict}")]
    Host {
        /// What it is about.
        #[source]
        conflict: HostConflict,
        /// As above.
        live: Option<Box<Validated>>,
    },
}

impl Refusal {
    /// What an agent that runs can take over all the same.
    pub fn live(&self) -> Option<&Validated> {
        match self {
            Self::MissingConfigMaps { live, .. }
            | Self::CertManagerMissing { live, .. }
            | Self::GatewayApiMissing { live }
            | Self::KindUnknown { live, .. }
            | Self::Host { live, .. } => live.as_deref(),
            Self::Unreadable(_) | Self::Config(_) | Self::UnknownDefaults { .. } => None,
        }
    }

    /// The reason, as condition, event and metric name it.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unreadable(_) | Self::Config(_) => Reason::InvalidSpec,
            Self::UnknownDefaults { .. } => Reason::UnknownDefaults,
            Self::MissingConfigMaps { .. } => Reason::MissingConfigMap,
            Self::CertManagerMissing { .. } => Reason::CertManagerMissing,
            Self::GatewayApiMissing { .. } => Reason::GatewayApiMissing,
            Self::KindUnknown { .. } => Reason::ApplyFailed,
            Self::Host { .. } => Reason::HostConflict,
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
    installation: &Installation,
) -> Result<Validated, Refusal> {
    let Dereferenced { missing_config_maps, image_in_use, defaults_in_use, restart_hash_in_use } = found;
    let Installation { agent_image, agent_image_pull_secrets, network_policy } = installation;
    // A new operator brings new defaults; a bot that exists keeps those that it was made with.
    let defaults_version = match defaults_in_use {
        None => DEFAULTS_VERSION,
        Some(text) => match text.parse() {
            Ok(version) if (1..=DEFAULTS_VERSION).contains(&version) => version,
            _ => {
                return Err(Refusal::UnknownDefaults {
                    version: text,
                    namespace: owner.namespace.clone(),
                    bot: owner.name.clone(),
                });
            }
        },
    };
    let effective = resolve_with(&bot.spec.read(), defaults_version)?;
    let deployment = Deployment::from_effective(&effective)?;
    let Effective { bot: config, deployment: _, provenance: _ } = effective;
    let unreadable = |error: &dyn std::fmt::Display| Refusal::Unreadable(error.to_string());
    let restart_hash = config.restart_hash().map_err(|error| unreadable(&error))?;
    let (mut summary, bars) = describe(&config);
    let rendering = Rendering::new(config, bot.metadata.generation.unwrap_or_default())
        .map_err(|error| unreadable(&error))?;
    summary.config = rendering.config_hash.chars().take(12).collect();
    // And likewise its image.
    let default_image = image_in_use.unwrap_or_else(|| agent_image.clone());
    let image = deployment.image.clone().unwrap_or_else(|| default_image.clone());
    let validated = Validated {
        owner: owner.clone(),
        reconciliation: deployment.reconciliation,
        rendering,
        restart_hash,
        deployment,
        image,
        default_image,
        image_pull_secrets: Arc::clone(agent_image_pull_secrets),
        defaults_version,
        network_policy: Arc::clone(network_policy),
        bars,
        certificate_users: Vec::new(),
        summary,
    };
    if missing_config_maps.is_empty() {
        return Ok(validated);
    }
    let takes_over = validated.reconciliation == Reconciliation::Enabled
        && restart_hash_in_use.as_ref() == Some(&validated.restart_hash);
    Err(Refusal::MissingConfigMaps {
        namespace: owner.namespace.clone(),
        names: missing_config_maps.into_iter().collect::<Vec<_>>().join(", "),
        live: takes_over.then(|| Box::new(validated)),
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
        config: String::new(),
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
        let bot: crate::controller::Guarded =
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        bot.0.unwrap()
    }

    fn validate_with(spec: Value, found: Dereferenced) -> Result<Validated, Refusal> {
        let bot = bot(spec);
        let installation =
            Installation { agent_image: "example.com/agent:1.0".into(), ..Installation::default() };
        validate(&bot, &Owner::of(&bot.metadata).unwrap(), found, &installation)
    }

    /// The bot of every builder's golden file.
    pub(crate) fn validated() -> Validated {
        validate_with(spec(), Dereferenced::default()).unwrap()
    }

    /// The same bot at an address.
    pub(crate) fn exposed(expose: Value) -> Validated {
        let mut spec = spec();
        spec["expose"] = expose;
        validate_with(spec, Dereferenced::default()).unwrap()
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
                assets: "BTC-USD".into(),
                config: validated.rendering.config_hash[..12].into(),
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
    fn a_bot_keeps_the_defaults_that_it_was_made_with_and_says_so_when_they_are_unknown() {
        let made_with =
            |version: &str| Dereferenced { defaults_in_use: Some(version.into()), ..Default::default() };
        assert_eq!(validate_with(spec(), made_with("1")).unwrap().defaults_version, 1);
        assert_eq!(validated().defaults_version, DEFAULTS_VERSION);
        for version in ["0", "999", "-1", "one", ""] {
            let refusal = validate_with(spec(), made_with(version)).unwrap_err();
            assert_eq!(refusal.reason(), Reason::UnknownDefaults);
            assert!(refusal.to_string().contains("annotate deployment paper-btc"), "{refusal}");
        }
    }

    #[test]
    fn limits_reach_a_running_agent_while_bars_are_missing_and_what_needs_a_restart_does_not() {
        let in_use = validated().restart_hash;
        let missing = || Dereferenced {
            missing_config_maps: ["btc-h1".to_owned()].into(),
            restart_hash_in_use: Some(in_use.clone()),
            ..Default::default()
        };
        let mut lower = spec();
        lower["risk"] = json!({"maxPositionPercent": 5});
        let refusal = validate_with(lower.clone(), missing()).unwrap_err();
        assert_eq!(refusal.live().unwrap().rendering.config.risk.max_position_percent.to_string(), "5");
        let mut faster = lower.clone();
        faster["feeds"][0]["replay"]["speed"] = json!(60);
        assert_eq!(validate_with(faster, missing()).unwrap_err().live(), None);
        lower["reconciliation"] = json!("Suspended");
        assert_eq!(validate_with(lower, missing()).unwrap_err().live(), None);
        let new = Dereferenced { restart_hash_in_use: None, ..missing() };
        assert_eq!(validate_with(spec(), new).unwrap_err().live(), None, "nobody runs");
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
