//! How a bot's agent runs: the operator's share of an effective configuration.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;
use serde_json::Value;

use super::bot::{AgentSpec, Reconciliation, Retain, SqliteSpec, StorageSpec};
use super::expose::{Expose, ExposeSpec};
use crate::config::{ConfigError, ConfigErrors, Effective, Layer};

/// How a bot's agent runs, with no key left open but the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// The agent's image, where the bot names one.
    pub image: Option<String>,
    /// Requests and limits of its container.
    pub resources: ResourceRequirements,
    /// Labels of the nodes that it may run on.
    pub node_selector: BTreeMap<String, String>,
    /// Least severe log lines shown.
    pub log_level: String,
    /// Where the journal lies.
    pub journal: Journal,
    /// Whether what is made for the bot is kept as its spec asks for.
    pub reconciliation: Reconciliation,
    /// The address under which the world reaches it.
    pub expose: Option<Expose>,
}

/// The claim of a bot's journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Journal {
    /// One that is made for the bot.
    Own {
        /// Size of the volume.
        size: Quantity,
        /// What becomes of it when the bot is deleted.
        retain: Retain,
    },
    /// One that existed before.
    Existing(String),
}

#[derive(Deserialize)]
struct DeploymentValue {
    agent: AgentSpec,
    storage: StorageSpec,
    #[serde(default)]
    reconciliation: Reconciliation,
    expose: Option<ExposeSpec>,
}

impl Deployment {
    /// Reads the operator's share of an effective configuration.
    ///
    /// # Errors
    /// When a value is malformed, when the API server would refuse what is made of it, or when the built-in
    /// defaults leave one out.
    pub fn from_effective(effective: &Effective) -> Result<Self, ConfigErrors> {
        check_sections(&effective.deployment)?;
        let DeploymentValue { agent, storage, reconciliation, expose } =
            serde_path_to_error::deserialize(&effective.deployment).map_err(|error| {
                ConfigError::new(error.path().to_string(), error.into_inner().to_string())
            })?;
        let AgentSpec { image, resources, node_selector, log_level } = agent;
        let StorageSpec { sqlite } = storage;
        let missing = |field: &str| ConfigError::new(field, "is missing; set it");
        let deployment = Self {
            image,
            resources: resources.ok_or_else(|| missing("agent.resources"))?.into(),
            node_selector: node_selector.unwrap_or_default(),
            log_level: log_level.ok_or_else(|| missing("agent.logLevel"))?,
            journal: journal(sqlite.unwrap_or_default(), |field| {
                effective.provenance.get(field) == Some(&Layer::Bot)
            })?,
            reconciliation,
            expose: expose.map(Expose::new).transpose()?,
        };
        deployment.check()?;
        Ok(deployment)
    }
}

impl Deployment {
    /// Finds what the API server would refuse in a child: nothing is made of a bot that cannot be made whole.
    fn check(&self) -> Result<(), ConfigErrors> {
        // The address was checked when it was read.
        let Self { image, resources, node_selector, log_level, journal, reconciliation: _, expose: _ } = self;
        let mut found = Vec::new();
        let mut push = |field: String, message: String| found.push(ConfigError::new(field, message));
        if let Some(image) = image.as_deref().filter(|image| !is_image(image)) {
            push(
                "agent.image".into(),
                format!("{image:?} is no image; write REPOSITORY:TAG or REPOSITORY@DIGEST"),
            );
        }
        if !["error", "warn", "info", "debug", "trace"].contains(&log_level.as_str()) {
            let message = format!("{log_level:?} is unknown; choose error, warn, info, debug or trace");
            push("agent.logLevel".into(), message);
        }
        for (key, value) in node_selector {
            if !is_qualified(key) {
                let message =
                    format!("{key:?} is no label; write letters, digits and -_. with an optional prefix");
                push("agent.nodeSelector".into(), message);
            } else if !(value.is_empty() || is_name(value)) {
                let message =
                    format!("{value:?} is no value of a label; write at most 63 letters, digits and -_.");
                push(format!("agent.nodeSelector[{key}]"), message);
            }
        }
        let ResourceRequirements { requests, limits, claims: _ } = resources;
        for (list, values) in [("requests", requests), ("limits", limits)] {
            for (name, quantity) in values.iter().flatten() {
                let field = format!("agent.resources.{list}[{name}]");
                if !is_resource(name) {
                    push(
                        field,
                        "is no resource of a container; write cpu, memory, ephemeral-storage or DOMAIN/NAME"
                            .into(),
                    );
                } else if amount(quantity).is_none_or(|amount| amount < 0.0) {
                    push(field, format!("{:?} is no quantity; write such as 100m, 64Mi or 1", quantity.0));
                }
            }
        }
        for (name, request) in requests.iter().flatten() {
            let limit = limits.as_ref().and_then(|limits| limits.get(name));
            let (Some(limit), Some(least)) = (limit, amount(request)) else { continue };
            if amount(limit).is_some_and(|most| least > most) {
                let message =
                    format!("{} is more than the limit {}; lower it or raise the limit", request.0, limit.0);
                push(format!("agent.resources.requests[{name}]"), message);
            }
        }
        match journal {
            Journal::Own { size, retain: _ } => {
                if amount(size).is_none_or(|amount| amount < 1.0) {
                    push("storage.sqlite.size".into(), format!("{:?} is no size; write such as 1Gi", size.0));
                }
            }
            Journal::Existing(claim) => {
                if !is_subdomain(claim) {
                    let message = format!("{claim:?} is no name of a PersistentVolumeClaim; correct it");
                    push("storage.sqlite.existingClaim".into(), message);
                }
            }
        }
        ConfigErrors::of(found).map_or(Ok(()), Err)
    }
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_image(text: &str) -> bool {
    text.len() <= 512
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._:/@".contains(c))
}

/// The name of a label without its prefix; also its value.
fn is_name(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The name of most objects: a DNS subdomain in lower case.
pub(super) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let ends = |b: Option<&u8>| b.is_some_and(|b| is_lower(*b));
        ends(part.as_bytes().first())
            && ends(part.as_bytes().last())
            && part.bytes().all(|b| is_lower(b) || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// A name, with or without a domain before it.
pub(super) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        None => is_name(text),
        Some((domain, name)) => is_subdomain(domain) && is_name(name),
    }
}

fn is_resource(name: &str) -> bool {
    ["cpu", "memory", "ephemeral-storage"].contains(&name) || (name.contains('/') && is_qualified(name))
}

/// A quantity as a number; none when the API server would not take it for one.
fn amount(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.as_str();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at_checked(end)?;
    // The API server's numbers are bounded; so far nobody needs more.
    let number: f64 = digits.parse().ok().filter(|_| digits.len() <= 18)?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10f64.powi(power).clamp(1e-18, 1e18)
        }
    };
    Some(if text.starts_with('-') { -number * factor } else { number * factor })
}

/// Parts that have fields. A list would be read as its fields in their order, and the API server would refuse the
/// bot's status.
const SECTIONS: [&str; 10] = [
    "agent",
    "agent.resources",
    "storage",
    "storage.sqlite",
    "expose",
    "expose.ingress",
    "expose.gateway",
    "expose.gateway.parentRef",
    "expose.tls",
    "expose.tls.issuerRef",
];

fn check_sections(deployment: &Value) -> Result<(), ConfigError> {
    let is_list = |section: &&&str| {
        let pointer = format!("/{}", section.replace('.', "/"));
        deployment.pointer(&pointer).is_some_and(Value::is_array)
    };
    match SECTIONS.iter().find(is_list) {
        Some(section) => Err(ConfigError::new(*section, "is a list; write its fields by their names")),
        None => Ok(()),
    }
}

fn journal(
    SqliteSpec { size, retain, existing_claim }: SqliteSpec,
    is_stated: impl Fn(&str) -> bool,
) -> Result<Journal, ConfigError> {
    const SIZE: &str = "storage.sqlite.size";
    const RETAIN: &str = "storage.sqlite.retain";
    let missing = |field: &str| ConfigError::new(field, "is missing; set it");
    if let Some(claim) = &existing_claim {
        if let (true, Some(size)) = (is_stated(SIZE), &size) {
            return Err(ConfigError::new(
                SIZE,
                format!("is {size}, and the existingClaim {claim} has a size of its own; leave it out"),
            ));
        }
        if is_stated(RETAIN) && retain == Some(Retain::Delete) {
            return Err(ConfigError::new(
                RETAIN,
                format!("is Delete, and the existingClaim {claim} is never deleted; leave it out"),
            ));
        }
    }
    Ok(match existing_claim {
        Some(name) => Journal::Existing(name),
        None => Journal::Own {
            size: size.map(Quantity).ok_or_else(|| missing(SIZE))?,
            retain: retain.ok_or_else(|| missing(RETAIN))?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use serde_json::json;

    fn deployment(change: impl FnOnce(&mut Value)) -> Result<Deployment, ConfigErrors> {
        let mut spec = json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]}
            ]}}],
        });
        change(&mut spec);
        Deployment::from_effective(&resolve(&spec).unwrap())
    }

    #[test]
    fn the_deployment_of_the_smallest_bot_comes_from_the_defaults() {
        let deployment = deployment(|spec| spec["agent"] = json!({"logLevel": "debug"})).unwrap();
        assert_eq!(deployment.image, None);
        assert_eq!(deployment.log_level, "debug");
        assert_eq!(deployment.journal, Journal::Own { size: Quantity("1Gi".into()), retain: Retain::Delete });
        assert_eq!(deployment.resources.limits.unwrap()["memory"], Quantity("64Mi".into()));
    }

    #[test]
    fn what_the_api_server_would_refuse_in_a_child_is_found_before_anything_is_made() {
        for (agent, field) in [
            (json!({"image": "no image"}), "spec.agent.image"),
            (json!({"image": ""}), "spec.agent.image"),
            (json!({"logLevel": "loud"}), "spec.agent.logLevel"),
            (json!({"nodeSelector": {"disk type": "ssd"}}), "spec.agent.nodeSelector"),
            (json!({"nodeSelector": {"EXAMPLE.com/disk": "ssd"}}), "spec.agent.nodeSelector"),
            (json!({"nodeSelector": {"disk": "größer"}}), "spec.agent.nodeSelector[disk]"),
            (json!({"resources": {"limits": {"cpu": "much"}}}), "spec.agent.resources.limits[cpu]"),
            (json!({"resources": {"limits": {"memory": "-1Gi"}}}), "spec.agent.resources.limits[memory]"),
            (json!({"resources": {"limits": {"memory": "64MB"}}}), "spec.agent.resources.limits[memory]"),
            (json!({"resources": {"requests": {"CPU": "1"}}}), "spec.agent.resources.requests[CPU]"),
            (json!({"resources": {"requests": {"memory": "65Mi"}}}), "spec.agent.resources.requests[memory]"),
        ] {
            let message = deployment(|spec| spec["agent"] = agent).unwrap_err().to_string();
            assert!(message.starts_with(field), "{message}");
        }
        for (sqlite, field) in [
            (json!({"size": "0Gi"}), "spec.storage.sqlite.size"),
            (json!({"size": "big"}), "spec.storage.sqlite.size"),
            (json!({"existingClaim": "No Claim"}), "spec.storage.sqlite.existingClaim"),
            (json!({"existingClaim": "a", "size": "1Gi"}), "spec.storage.sqlite.size: is 1Gi, and"),
            (json!({"existingClaim": "a", "retain": "Delete"}), "spec.storage.sqlite.retain: is Delete, and"),
        ] {
            let message =
                deployment(|spec| spec["storage"] = json!({"sqlite": sqlite})).unwrap_err().to_string();
            assert!(message.starts_with(field), "{message}");
        }
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("100m", Some(0.1)),
            ("1.5Gi", Some(1_610_612_736.0)),
            ("1e3", Some(1000.0)),
            ("2E", Some(2e18)),
            ("-1", Some(-1.0)),
            ("", None),
            ("Gi", None),
            ("1 Gi", None),
            ("1GB", None),
            ("1.2.3", None),
            ("0x10", None),
            ("NaN", None),
            ("inf", None),
        ] {
            assert_eq!(amount(&Quantity(text.into())), expected, "{text}");
        }
    }

    #[test]
    fn a_list_is_no_section() {
        let message = deployment(|spec| spec["expose"] = json!({"host": "a.example.com", "ingress": []}));
        let message = message.unwrap_err().to_string();
        assert_eq!(message, "spec.expose.ingress: is a list; write its fields by their names");
    }
}
