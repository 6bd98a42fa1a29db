//! What a status need not say at once: on its way to `Ready` an agent takes steps within a second or two, and each would
//! be a write of its own.

use crds::api::TradingBotStatus;
use crds::contract::condition;

use crate::reason::Reason;

/// The reasons for which a bot whose agent starts is not ready.
const ON_THE_WAY: [Reason; 3] = [Reason::AgentStarting, Reason::AgentNotConnected, Reason::ConfigPending];

/// The conditions in which the steps show.
const STEPS: [&str; 3] = [condition::READY, condition::RECONCILING, condition::AGENT_CONNECTED];

/// Whether a share says no more than the one before but that the agent is further on its way, and still on it.
pub fn is_only_progress(before: &TradingBotStatus, after: &TradingBotStatus) -> bool {
    is_on_the_way(before) && is_on_the_way(after) && without_steps(before) == without_steps(after)
}

fn is_on_the_way(share: &TradingBotStatus) -> bool {
    let reconciling = share.conditions.iter().find(|condition| condition.type_ == condition::RECONCILING);
    reconciling.is_some_and(|found| ON_THE_WAY.iter().any(|reason| reason.as_str() == found.reason))
}

fn without_steps(share: &TradingBotStatus) -> TradingBotStatus {
    let mut rest = share.clone();
    rest.conditions.retain(|condition| !STEPS.contains(&condition.type_.as_str()));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn share(generation: i64, conditions: [(&str, &str, Reason); 3]) -> TradingBotStatus {
        let conditions = conditions.map(|(kind, status, reason)| {
            json!({"type": kind, "status": status, "reason": reason.as_str(), "message": reason.as_str(),
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        });
        from_value(json!({"observedGeneration": generation, "conditions": conditions})).unwrap()
    }

    fn starting(reason: Reason, connected: &str) -> TradingBotStatus {
        share(
            1,
            [
                ("Ready", "False", reason),
                ("Reconciling", "True", reason),
                ("AgentConnected", connected, Reason::LeaseHeld),
            ],
        )
    }

    #[test]
    fn a_step_on_the_way_is_only_progress_and_its_end_or_any_trouble_is_more() {
        let before = starting(Reason::AgentStarting, "False");
        assert!(is_only_progress(&before, &starting(Reason::AgentStarting, "True")));
        assert!(is_only_progress(&before, &starting(Reason::ConfigPending, "True")));
        for trouble in [Reason::PodRefused, Reason::LeaseExpired, Reason::ApplyFailed] {
            assert!(!is_only_progress(&before, &starting(trouble, "False")), "{trouble}");
            assert!(!is_only_progress(&starting(trouble, "False"), &before), "{trouble}");
        }
        let ready = share(
            1,
            [
                ("Ready", "True", Reason::AgentReady),
                ("ConfigValid", "True", Reason::Valid),
                ("AgentConnected", "True", Reason::LeaseHeld),
            ],
        );
        assert!(!is_only_progress(&before, &ready));
        let mut newer = before.clone();
        newer.observed_generation = Some(2);
        assert!(!is_only_progress(&before, &newer), "the first word on a new spec");
        assert!(!is_only_progress(&TradingBotStatus::default(), &before), "the first word of all");
    }
}
