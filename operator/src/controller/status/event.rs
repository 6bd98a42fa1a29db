//! Events tell the story of a bot: one for each turn that it takes.

use crds::api::TradingBotStatus;
use crds::contract::{OPERATOR_MANAGER, condition};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::warn;

use crate::metrics::Metrics;
use crate::reason::Reason;

/// The API server takes so many bytes of a note.
const NOTE_BYTES: usize = 1024;

/// Publishes the turn that a bot took between two shares, if it took one. A turn that cannot be published
/// is logged: the status says the same.
pub async fn publish(
    client: &Client,
    bot: &ObjectReference,
    before: &TradingBotStatus,
    after: &TradingBotStatus,
    metrics: &Metrics,
) {
    let Some(event) = turn(before, after) else { return };
    metrics.call("Event", "create");
    // A recorder of its own for each turn: a shared one would repeat an old note when a reason returns.
    let recorder = Recorder::new(client.clone(), OPERATOR_MANAGER.into());
    if let Err(error) = recorder.publish(&event, bot).await {
        warn!(%error, reason = event.reason, "the event cannot be published");
    }
}

fn turn(before: &TradingBotStatus, after: &TradingBotStatus) -> Option<Event> {
    let (was_ready, ready) = (ready_of(before), ready_of(after)?);
    let new_spec = before.observed_generation != after.observed_generation;
    let flipped = was_ready.is_none_or(|was| was.status != ready.status);
    let trouble = trouble_of(ready);
    if !flipped && !new_spec && was_ready.and_then(trouble_of) == trouble {
        return None;
    }
    let lost = ready.status == "False" && was_ready.is_some_and(|was| was.status == "True") && !new_spec;
    let mut note = ready.message.clone();
    let mut end = NOTE_BYTES.min(note.len());
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
    Some(Event {
        type_: if lost || trouble.is_some() { EventType::Warning } else { EventType::Normal },
        reason: ready.reason.clone(),
        note: Some(note),
        action: "Reconcile".into(),
        secondary: None,
    })
}

fn ready_of(status: &TradingBotStatus) -> Option<&Condition> {
    status.conditions.iter().find(|found| found.type_ == condition::READY)
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
            (&none, &starting, Some(("AgentStarting", EventType::Normal))),
            (&starting, &waiting, None),
            (&waiting, &ready, Some(("AgentReady", EventType::Normal))),
            (&ready, &ready, None),
            (&ready, &waiting, Some(("AgentNotConnected", EventType::Warning))),
            (&ready, &edited, Some(("ConfigPending", EventType::Normal))),
            (&edited, &invalid, Some(("InvalidSpec", EventType::Warning))),
            (&invalid, &still_invalid, Some(("InvalidSpec", EventType::Warning))),
            (&still_invalid, &still_invalid, None),
            (&starting, &refused, Some(("ApplyFailed", EventType::Warning))),
            (&refused, &starting, Some(("AgentStarting", EventType::Normal))),
        ] {
            let told = turn(before, after).map(|event| (event.reason, event.type_));
            assert_eq!(told, expected.map(|(reason, type_)| (reason.to_owned(), type_)));
        }
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let long = share(1, "False", "InvalidSpec", &"é".repeat(NOTE_BYTES));
        let note = turn(&TradingBotStatus::default(), &long).unwrap().note.unwrap();
        assert_eq!(note.len(), NOTE_BYTES);
    }
}
