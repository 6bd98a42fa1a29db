//! Events tell the story of a bot: one for each turn that it takes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::api::TradingBotStatus;
use crds::contract::{OPERATOR_MANAGER, condition};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tracing::warn;

use crate::metrics::Metrics;
use crate::reason::Reason;

/// The API server takes so many bytes of a note.
const NOTE_BYTES: usize = 1024;
/// A turn that comes back in the same words within this time is counted in the event that told of it.
const SERIES: Duration = Duration::from_secs(6 * 60);

/// An event that was published not long ago.
#[derive(Clone, Debug)]
struct Told {
    name: String,
    count: i32,
    at: Instant,
}

/// Publishes turns, and counts those that come back.
///
/// The library's recorder takes two events for one whenever their reason is the same, and shows the note
/// of the first for ever: here the note counts too.
#[derive(Debug, Default)]
pub struct Events(Mutex<HashMap<u64, Told>>);

/// A turn that a bot took.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Turn {
    warns: bool,
    reason: String,
    note: String,
}

impl Events {
    /// Publishes the turn that a bot took between two shares, if it took one. A turn that cannot be
    /// published is logged: the status says the same.
    pub async fn publish(
        &self,
        client: &Client,
        bot: &ObjectReference,
        before: &TradingBotStatus,
        after: &TradingBotStatus,
        metrics: &Metrics,
    ) {
        let Some(turn) = turn(before, after) else { return };
        let api = Api::namespaced(client.clone(), bot.namespace.as_deref().unwrap_or_default());
        let key = key(bot, &turn);
        if let Err(error) = self.tell(&api, key, bot, &turn, metrics).await {
            warn!(%error, reason = turn.reason, "the event cannot be published");
        }
    }

    async fn tell(
        &self,
        api: &Api<Event>,
        key: u64,
        bot: &ObjectReference,
        turn: &Turn,
        metrics: &Metrics,
    ) -> Result<(), kube::Error> {
        if let Some(Told { name, count, .. }) = self.recall(key) {
            let count = count.saturating_add(1);
            let series = json!({"series": {"count": count, "lastObservedTime": MicroTime(Timestamp::now())}});
            metrics.call("Event", "patch");
            match api.patch(&name, &PatchParams::default(), &Patch::Merge(series)).await {
                Ok(_) => {
                    self.lock().insert(key, Told { name, count, at: Instant::now() });
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let event = event(bot, turn, Timestamp::now());
        metrics.call("Event", "create");
        api.create(&PostParams::default(), &event).await?;
        let name = event.metadata.name.unwrap_or_default();
        self.lock().insert(key, Told { name, count: 1, at: Instant::now() });
        Ok(())
    }

    fn recall(&self, key: u64) -> Option<Told> {
        let mut told = self.lock();
        // Swept whenever it has to grow, so that the sweeping costs little per event.
        if told.len() == told.capacity() {
            told.retain(|_, told| told.at.elapsed() < SERIES);
            told.shrink_to_fit();
            let room = told.len().max(16);
            told.reserve(room);
        }
        told.get(&key).filter(|told| told.at.elapsed() < SERIES).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(bot: &ObjectReference, turn: &Turn) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&bot.uid, turn).hash(&mut hasher);
    hasher.finish()
}

fn event(bot: &ObjectReference, turn: &Turn, now: Timestamp) -> Event {
    let bot_name = bot.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{bot_name}.{:x}", now.as_nanosecond())),
            namespace: bot.namespace.clone(),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".into()),
        reason: Some(turn.reason.clone()),
        note: Some(turn.note.clone()),
        type_: Some(if turn.warns { "Warning" } else { "Normal" }.into()),
        event_time: Some(MicroTime(now)),
        regarding: Some(bot.clone()),
        reporting_controller: Some(OPERATOR_MANAGER.into()),
        // Kubernetes names the pod here.
        reporting_instance: Some(std::env::var("HOSTNAME").unwrap_or_else(|_| OPERATOR_MANAGER.into())),
        ..Event::default()
    }
}

fn turn(before: &TradingBotStatus, after: &TradingBotStatus) -> Option<Turn> {
    let (was_ready, ready) = (ready_of(before), ready_of(after)?);
    let new_spec = before.observed_generation != after.observed_generation;
    let flipped = was_ready.is_none_or(|was| was.status != ready.status);
    let trouble = trouble_of(ready);
    if !flipped && !new_spec && was_ready.and_then(trouble_of) == trouble {
        return None;
    }
    let lost = ready.status == "False" && was_ready.is_some_and(|was| was.status == "True") && !new_spec;
    // The news of a suspended bot is what waits, not that its agent goes on.
    let news = if new_spec && !flipped { suspended_of(after).unwrap_or(ready) } else { ready };
    let mut note = news.message.clone();
    let mut end = NOTE_BYTES.min(note.len());
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
    Some(Turn { warns: lost || trouble.is_some(), reason: news.reason.clone(), note })
}

fn ready_of(status: &TradingBotStatus) -> Option<&Condition> {
    status.conditions.iter().find(|found| found.type_ == condition::READY)
}

fn suspended_of(status: &TradingBotStatus) -> Option<&Condition> {
    let ready = ready_of(status).is_some_and(|ready| ready.status == "True");
    status.conditions.iter().find(|found| ready && found.type_ == condition::RECONCILIATION_SUSPENDED)
}

fn trouble_of(ready: &Condition) -> Option<(&str, &str)> {
    let is_trouble = Reason::TROUBLE.iter().any(|reason| reason.as_str() == ready.reason);
    is_trouble.then_some((&ready.reason, &ready.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn share(generation: i64, ready: &str, reason: &str, message: &str) -> TradingBotStatus {
        let ready = json!({"type": "Ready", "status": ready, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(json!({"observedGeneration": generation, "conditions": [ready]})).unwrap()
    }

    #[test]
    fn a_turn_is_told_once_and_a_step_on_the_way_is_none() {
        let none = TradingBotStatus::default();
        let starting = share(1, "False", "AgentStarting", "m");
        let waiting = share(1, "False", "AgentNotConnected", "m");
        let ready = share(1, "True", "AgentReady", "m");
        let edited = share(2, "False", "ConfigPending", "m");
        let invalid = share(3, "False", "InvalidSpec", "a");
        let still_invalid = share(3, "False", "InvalidSpec", "b");
        let refused = share(1, "False", "ApplyFailed", "quota");
        for (before, after, expected) in [
            (&none, &starting, Some(("AgentStarting", false))),
            (&starting, &waiting, None),
            (&waiting, &ready, Some(("AgentReady", false))),
            (&ready, &ready, None),
            (&ready, &waiting, Some(("AgentNotConnected", true))),
            (&ready, &edited, Some(("ConfigPending", false))),
            (&edited, &invalid, Some(("InvalidSpec", true))),
            (&invalid, &still_invalid, Some(("InvalidSpec", true))),
            (&still_invalid, &still_invalid, None),
            (&starting, &refused, Some(("ApplyFailed", true))),
            (&refused, &starting, Some(("AgentStarting", false))),
        ] {
            let told = turn(before, after).map(|turn| (turn.reason, turn.warns));
            assert_eq!(told, expected.map(|(reason, warns)| (reason.to_owned(), warns)));
        }
    }

    #[test]
    fn a_suspended_bot_that_trades_on_tells_what_waits() {
        let suspended = |generation, ready, reason| {
            let mut share = share(generation, ready, reason, "m");
            let mut condition = share.conditions[0].clone();
            condition.type_ = condition::RECONCILIATION_SUSPENDED.into();
            (condition.status, condition.reason) = ("True".into(), "Suspended".into());
            share.conditions.push(condition);
            share
        };
        let told = |before: &_, after: &_| turn(before, after).map(|turn| (turn.reason, turn.warns));
        let (running, held) = (share(1, "True", "AgentReady", "m"), suspended(2, "True", "AgentReady"));
        assert_eq!(told(&running, &held), Some(("Suspended".into(), false)));
        assert_eq!(told(&held, &held), None);
        assert_eq!(told(&held, &suspended(3, "True", "AgentReady")), Some(("Suspended".into(), false)));
        assert_eq!(told(&held, &suspended(2, "False", "LeaseExpired")), Some(("LeaseExpired".into(), true)));
        assert_eq!(told(&held, &share(3, "True", "AgentReady", "m")), Some(("AgentReady".into(), false)));
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let long = share(1, "False", "InvalidSpec", &"é".repeat(NOTE_BYTES));
        let note = turn(&TradingBotStatus::default(), &long).unwrap().note;
        assert_eq!(note.len(), NOTE_BYTES);
    }

    #[test]
    fn a_reason_that_returns_with_another_note_is_another_event_and_an_old_one_is_forgotten() {
        let bot = ObjectReference { uid: Some("u".into()), ..ObjectReference::default() };
        let turn = |note: &str| Turn { warns: true, reason: "ApplyFailed".into(), note: note.into() };
        assert_eq!(key(&bot, &turn("quota")), key(&bot, &turn("quota")));
        assert_ne!(key(&bot, &turn("quota")), key(&bot, &turn("webhook")));
        let other = ObjectReference { uid: Some("v".into()), ..ObjectReference::default() };
        assert_ne!(key(&bot, &turn("quota")), key(&other, &turn("quota")));

        let events = Events::default();
        let tell = |key, at| events.lock().insert(key, Told { name: key.to_string(), count: 1, at });
        let Some(long_ago) = Instant::now().checked_sub(SERIES) else { return };
        tell(1, long_ago);
        tell(2, Instant::now());
        assert!(events.recall(1).is_none());
        assert_eq!(events.recall(2).unwrap().name, "2");
        for key in 3..1000 {
            events.recall(key);
            tell(key, long_ago);
        }
        assert!(events.lock().len() < 100, "what is old does not pile up");
    }
}
