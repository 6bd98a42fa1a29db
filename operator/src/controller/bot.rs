//! A `TradingBot` as it is watched.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crds::api::{TradingBot, TradingBotStatus};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector::ObjectRef;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::watch::metadata;

/// A `TradingBot` whose spec is still what was written: reading it is the business of `validate`, which
/// can name the field that is wrong.
#[derive(Clone, Debug)]
pub struct Bot {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its spec.
    pub spec: WrittenSpec,
    /// What operator and agent reported.
    pub status: Option<TradingBotStatus>,
}

/// A spec as JSON text: as a tree it would take ten times the memory, for every bot.
#[derive(Clone, Debug, Default)]
pub struct WrittenSpec(Box<str>);

impl WrittenSpec {
    /// The whole; null where there is none.
    pub fn read(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// One section of it, if it has that.
    pub fn section(&self, name: &str) -> Option<Value> {
        if !self.mentions(name) {
            return None;
        }
        self.read().get_mut(name).map(Value::take)
    }

    /// Whether it may hold the text, as a name or as a value; a cheap answer before the spec is read.
    pub fn mentions(&self, text: &str) -> bool {
        self.0.contains(&Value::from(text).to_string())
    }
}

impl From<Value> for WrittenSpec {
    fn from(spec: Value) -> Self {
        Self(spec.to_string().into())
    }
}

impl<'de> Deserialize<'de> for WrittenSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

/// A bot, or what can be said of one whose status cannot be read: it must not stop the others.
#[derive(Clone, Debug)]
pub struct Guarded(pub Result<Bot, InvalidObject>);

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            #[serde(deserialize_with = "metadata")]
            metadata: ObjectMeta,
            #[serde(default)]
            spec: WrittenSpec,
            #[serde(default)]
            status: Value,
        }
        let Written { metadata, spec, status } = Written::deserialize(deserializer)?;
        Ok(Self(match Option::deserialize(status) {
            Ok(status) => Ok(Bot { metadata, spec, status }),
            Err(error) => Err(InvalidObject { error: error.to_string(), metadata }),
        }))
    }
}

/// How a bot is referred to.
pub type BotRef = ObjectRef<Guarded>;

impl Bot {
    /// Whether a replay feed of this bot reads the ConfigMap.
    pub fn reads_config_map(&self, name: &str) -> bool {
        self.spec.mentions(name) && config_maps(&self.spec.read()).contains(name)
    }
}

/// The ConfigMaps that the replay feeds of a spec name.
pub fn config_maps(spec: &Value) -> BTreeSet<&str> {
    fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
        value.get(key).and_then(Value::as_array).into_iter().flatten()
    }
    list(spec, "feeds")
        .filter_map(|feed| feed.get("replay"))
        .flat_map(|replay| list(replay, "data"))
        .flat_map(|data| list(data, "configMaps"))
        .filter_map(|reference| reference.get("name")?.as_str())
        .collect()
}

impl Resource for Guarded {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        TradingBot::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        TradingBot::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        TradingBot::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        TradingBot::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, |bot| &bot.metadata)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, |bot| &mut bot.metadata)
    }
}

/// Whose a child is: what builders need of the bot beside its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The bot's name.
    pub name: String,
    /// The bot's namespace.
    pub namespace: String,
    /// The bot's UID.
    pub uid: String,
}

impl Owner {
    /// The owner that this metadata makes; none when the API server left out what it always sets.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let ObjectMeta { name: Some(name), namespace: Some(namespace), uid: Some(uid), .. } = metadata else {
            return None;
        };
        Some(Self { name: name.clone(), namespace: namespace.clone(), uid: uid.clone() })
    }

    /// The reference by which the bot is found.
    pub fn bot_ref(&self) -> BotRef {
        BotRef::new(&self.name).within(&self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unreadable_spec_is_a_bot_all_the_same_and_an_unreadable_status_keeps_its_metadata() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1},
            "spec": {"assets": [{"pair": "no pair"}], "feeds": 7}
        });
        let bot: Guarded = serde_json::from_value(object).unwrap();
        let bot = bot.0.unwrap();
        assert_eq!(Owner::of(&bot.metadata).unwrap().uid, "u");
        assert!(config_maps(&bot.spec.read()).is_empty());

        let object =
            json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {}, "status": {"conditions": 3}});
        let bot: Guarded = serde_json::from_value(object).unwrap();
        let invalid = bot.0.unwrap_err();
        assert_eq!(invalid.metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn the_config_maps_of_replay_feeds_are_found() {
        let bot: Guarded = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "spec": {"feeds": [{"name": "live"}, {"name": "bars", "replay": {"data": [
                {"configMaps": [{"name": "h1", "key": "a.csv"}, {"name": "h2", "key": "a.csv"}]}
            ]}}]}
        }))
        .unwrap();
        let bot = bot.0.unwrap();
        assert_eq!(config_maps(&bot.spec.read()).into_iter().collect::<Vec<_>>(), ["h1", "h2"]);
        assert!(bot.reads_config_map("h1") && !bot.reads_config_map("bars"), "a feed's name is none");
        assert_eq!(bot.spec.section("feeds").unwrap()[0], json!({"name": "live"}));
        assert_eq!(bot.spec.section("expose"), None);
    }
}
