//! A `TradingBot` as it is watched.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crds::api::{TradingBot, TradingBotStatus};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use serde::Deserialize;
use serde_json::Value;

/// A `TradingBot` whose spec is still what was written: parsing it is the business of `validate`, which
/// can name the field that is wrong.
#[derive(Clone, Debug, Deserialize)]
pub struct Bot {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its spec, unparsed.
    #[serde(default)]
    pub spec: Value,
    /// What operator and agent reported.
    #[serde(default)]
    pub status: Option<TradingBotStatus>,
}

/// A bot, or what can be said of one that cannot be read: it must not stop the others.
pub type Guarded = DeserializeGuard<Bot>;
/// How a bot is referred to.
pub type BotRef = ObjectRef<Guarded>;

impl Bot {
    /// The ConfigMaps that replay feeds of this bot name.
    pub fn config_maps(&self) -> BTreeSet<String> {
        fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
            value.get(key).and_then(Value::as_array).into_iter().flatten()
        }
        list(&self.spec, "feeds")
            .filter_map(|feed| feed.get("replay"))
            .flat_map(|replay| list(replay, "data"))
            .flat_map(|data| list(data, "configMaps"))
            .filter_map(|reference| reference.get("name")?.as_str().map(str::to_owned))
            .collect()
    }
}

impl Resource for Bot {
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
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
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
        assert!(bot.config_maps().is_empty());

        let object =
            json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {}, "status": {"conditions": 3}});
        let bot: Guarded = serde_json::from_value(object).unwrap();
        let invalid = bot.0.unwrap_err();
        assert_eq!(invalid.metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn the_config_maps_of_replay_feeds_are_found() {
        let bot: Bot = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "spec": {"feeds": [{"name": "live"}, {"name": "bars", "replay": {"data": [
                {"configMaps": [{"name": "h1", "key": "a.csv"}, {"name": "h2", "key": "a.csv"}]}
            ]}}]}
        }))
        .unwrap();
        assert_eq!(bot.config_maps().into_iter().collect::<Vec<_>>(), ["h1", "h2"]);
    }
}
