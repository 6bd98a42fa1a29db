//! The agent's share of a status, once there is no agent that could write it.

use crds::api::TradingBotStatus;
use crds::contract::condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Rollout;
use crate::reason::Reason;
use crate::watch::Connection;

const MESSAGE: &str = "no agent is there to say; what it said last is kept in the rest of the status";

/// Whether nobody is left who could write the agent's share. An agent that let go of its Lease may be on
/// its way back, as long as there is a pod.
pub fn is_gone(connection: Connection, rollout: &Rollout) -> bool {
    match connection {
        Connection::Live | Connection::Doubtful => false,
        Connection::Expired => true,
        Connection::Unheld => *rollout == Rollout::NoPod,
    }
}

/// The agent's last share, whole, with its conditions unknown. None when they are, or when no agent ever
/// wrote any.
pub fn last_share(status: &TradingBotStatus, now: &Time) -> Option<TradingBotStatus> {
    let TradingBotStatus {
        observed_generation: _,
        conditions,
        config_hash: _,
        url: _,
        claims: _,
        tls: _,
        api_key_secret: _,
        summary: _,
        agent,
        account,
        trading,
    } = status;
    let of_agent = |condition: &&Condition| condition::AGENTS.contains(&condition.type_.as_str());
    let is_said = |condition: &Condition| {
        condition.status == "Unknown" && condition.reason == Reason::AgentGone.as_str()
    };
    let conditions: Vec<&Condition> = conditions.iter().filter(of_agent).collect();
    if conditions.iter().all(|condition| is_said(condition)) {
        return None;
    }
    let unknown = |condition: &Condition| Condition {
        type_: condition.type_.clone(),
        status: "Unknown".into(),
        reason: Reason::AgentGone.as_str().into(),
        message: MESSAGE.into(),
        last_transition_time: if condition.status == "Unknown" {
            condition.last_transition_time.clone()
        } else {
            now.clone()
        },
        observed_generation: None,
    };
    Some(TradingBotStatus {
        conditions: conditions.into_iter().map(unknown).collect(),
        agent: agent.clone(),
        account: account.clone(),
        trading: trading.clone(),
        ..TradingBotStatus::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn an_agent_is_gone_when_its_lease_ran_out_or_when_it_let_go_and_has_no_pod() {
        for (connection, rollout, gone) in [
            (Connection::Live, Rollout::NoPod, false),
            (Connection::Live, Rollout::Available, false),
            (Connection::Expired, Rollout::Available, true),
            (Connection::Expired, Rollout::Progressing, true),
            (Connection::Doubtful, Rollout::NoPod, false),
            (Connection::Unheld, Rollout::Progressing, false),
            (Connection::Unheld, Rollout::NoPod, true),
        ] {
            assert_eq!(is_gone(connection, &rollout), gone, "{connection:?} {rollout:?}");
        }
    }

    #[test]
    fn only_the_conditions_of_the_last_share_change_and_they_do_so_once() {
        let status: TradingBotStatus = serde_json::from_value(json!({
            "observedGeneration": 2, "configHash": "abc", "apiKeySecret": "s",
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "AgentReady", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "FeedHealthy", "status": "True", "reason": "Replaying", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Foreign", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            ],
            "agent": {"pod": "p", "version": "1", "configHash": "abc", "startedAt": "2026-01-01T00:00:00Z", "loop": "Running"}
        }))
        .unwrap();
        let now = Time(Timestamp::from_second(1_800_000_000).unwrap());
        let gone = last_share(&status, &now).unwrap();
        assert_eq!(gone.agent, status.agent);
        assert_eq!((gone.observed_generation, &gone.config_hash, &gone.api_key_secret), (None, &None, &None));
        let [feed] = gone.conditions.as_slice() else { panic!("{:?}", gone.conditions) };
        assert_eq!(
            (feed.type_.as_str(), feed.status.as_str(), feed.reason.as_str(), &feed.last_transition_time),
            ("FeedHealthy", "Unknown", "AgentGone", &now)
        );
        assert_eq!(last_share(&gone, &now), None, "said once");
        assert_eq!(last_share(&TradingBotStatus::default(), &now), None, "there never was an agent");
    }
}
