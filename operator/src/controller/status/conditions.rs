//! From what is observed to the operator's share of the status. A pure function.

use crds::api::TradingBotStatus;
use crds::config::State;
use crds::contract::{LABEL_BOT, api_secret_name, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::super::bot::Owner;
use super::Rollout;
use super::looked::{Outcome, Stated};
use crate::reason::Reason;
use crate::watch::Connection;

/// What is so.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The bot.
    pub owner: &'a Owner,
    /// The generation of the spec that was looked at.
    pub generation: i64,
    /// What became of it.
    pub outcome: &'a Outcome,
    /// How far the Deployment is.
    pub rollout: &'a Rollout,
    /// Whether an agent holds the Lease.
    pub connection: Connection,
    /// The hash of the configuration that the agent says it runs.
    pub agent_hash: Option<&'a str>,
}

struct Verdict {
    holds: bool,
    reason: Reason,
    message: String,
}

impl Verdict {
    fn new(holds: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { holds, reason, message: message.into() }
    }
}

/// Computes the operator's share; what did not change keeps its time.
pub fn share(observed: &Observed<'_>, previous: &TradingBotStatus, now: Time) -> TradingBotStatus {
    let Observed { owner, generation, outcome, rollout, connection, agent_hash } = *observed;
    let connected = connected(connection);
    let kept = match (outcome, &previous.config_hash) {
        (Outcome::Refused(..), Some(_)) => "; the agent keeps its last good configuration",
        _ => "",
    };
    let ready = match outcome {
        Outcome::Refused(reason, message) | Outcome::Failed(_, reason, message) => {
            Verdict::new(false, *reason, format!("{message}{kept}"))
        }
        Outcome::Applied(stated) => ready(owner, stated, rollout, &connected, agent_hash),
    };
    let valid = match outcome {
        Outcome::Refused(Reason::InvalidSpec, message) => {
            Verdict::new(false, Reason::InvalidSpec, format!("{message}{kept}"))
        }
        _ => Verdict::new(true, Reason::Valid, "the spec makes a configuration"),
    };
    let mut conditions = Vec::new();
    let mut push = |type_: &str, verdict: &Verdict| {
        conditions.push(made(type_, verdict, generation, previous, &now));
    };
    push(condition::READY, &ready);
    if !ready.holds {
        let (type_, reason) = if ready.reason.is_stalled() {
            (condition::STALLED, ready.reason)
        } else {
            (condition::RECONCILING, ready.reason)
        };
        push(type_, &Verdict::new(true, reason, ready.message.clone()));
    }
    push(condition::CONFIG_VALID, &valid);
    push(condition::AGENT_CONNECTED, &connected);

    let mut share = TradingBotStatus {
        observed_generation: Some(generation),
        conditions,
        config_hash: previous.config_hash.clone(),
        api_key_secret: previous.api_key_secret.clone(),
        summary: previous.summary.clone(),
        ..TradingBotStatus::default()
    };
    if let Some(Stated { config_hash, summary }) = outcome.stated() {
        share.config_hash = Some(config_hash.clone());
        share.api_key_secret = Some(api_secret_name(&owner.name, &owner.uid));
        share.summary = Some(summary.clone());
    }
    share
}

fn connected(connection: Connection) -> Verdict {
    match connection {
        Connection::Live => Verdict::new(true, Reason::LeaseHeld, "an agent holds the lease and renews it"),
        Connection::Expired => Verdict::new(
            false,
            Reason::LeaseExpired,
            "the agent stopped renewing its lease and opens no position; look at its pod and its log",
        ),
        Connection::Unheld => Verdict::new(false, Reason::AgentNotConnected, "no agent holds the lease yet"),
    }
}

fn ready(
    owner: &Owner,
    stated: &Stated,
    rollout: &Rollout,
    connected: &Verdict,
    agent_hash: Option<&str>,
) -> Verdict {
    match rollout {
        Rollout::Refused(words) => {
            return Verdict::new(
                false,
                Reason::PodRefused,
                format!("the agent's pod cannot be made: {words}"),
            );
        }
        Rollout::Progressing => {
            return Verdict::new(
                false,
                Reason::AgentStarting,
                format!(
                    "the agent's pod is not available yet; if it stays so, see `kubectl -n {} describe pod -l {LABEL_BOT}={}`",
                    owner.namespace, owner.name
                ),
            );
        }
        Rollout::Available => {}
    }
    if !connected.holds {
        return Verdict::new(false, connected.reason, connected.message.clone());
    }
    let wanted = &stated.config_hash;
    if agent_hash != Some(wanted) {
        let runs =
            agent_hash.map_or("no configuration".to_owned(), |hash| format!("configuration {}", short(hash)));
        return Verdict::new(
            false,
            Reason::ConfigPending,
            format!(
                "the agent runs {runs} and is to take over {}; if it stays so, its log says why",
                short(wanted)
            ),
        );
    }
    let paused = if stated.summary.state == State::Paused.as_str() {
        "; it is paused: positions are closed and none is opened"
    } else {
        ""
    };
    Verdict::new(true, Reason::AgentReady, format!("the agent runs configuration {}{paused}", short(wanted)))
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn made(
    type_: &str,
    verdict: &Verdict,
    generation: i64,
    previous: &TradingBotStatus,
    now: &Time,
) -> Condition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = previous.conditions.iter().find(|before| before.type_ == type_ && before.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: before
            .map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;
    use super::*;
    use jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn computed(
        outcome: &Outcome,
        rollout: &Rollout,
        connection: Connection,
        agent_hash: Option<&str>,
        previous: &TradingBotStatus,
        now: i64,
    ) -> TradingBotStatus {
        let owner = validated().owner;
        let observed = Observed { owner: &owner, generation: 3, outcome, rollout, connection, agent_hash };
        share(&observed, previous, at(now))
    }

    fn words(share: &TradingBotStatus) -> Vec<String> {
        share.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect()
    }

    #[test]
    fn the_way_to_ready() {
        let bot = validated();
        let hash = bot.rendering.config_hash.clone();
        let none = TradingBotStatus::default();
        let applied = &Outcome::Applied(Stated::from(&bot));
        let (up, not_yet) = (Rollout::Available, Rollout::Progressing);
        let live = Connection::Live;
        for (rollout, connection, agent, ready) in [
            (&not_yet, Connection::Unheld, None, "Ready=False/AgentStarting"),
            (&not_yet, live, Some(hash.as_str()), "Ready=False/AgentStarting"),
            (&up, Connection::Unheld, None, "Ready=False/AgentNotConnected"),
            (&up, Connection::Expired, Some(hash.as_str()), "Ready=False/LeaseExpired"),
            (&up, live, None, "Ready=False/ConfigPending"),
            (&up, live, Some("old"), "Ready=False/ConfigPending"),
            (&up, live, Some(hash.as_str()), "Ready=True/AgentReady"),
        ] {
            let share = computed(applied, rollout, connection, agent, &none, 0);
            let words = words(&share);
            assert_eq!(words[0], ready);
            let reconciling = words.iter().any(|w| w.starts_with("Reconciling=True"));
            assert_eq!(reconciling, words[0].starts_with("Ready=False"), "{words:?}");
            assert!(!words.iter().any(|w| w.starts_with("Stalled")));
            assert_eq!(share.config_hash.as_deref(), Some(hash.as_str()));
            assert_eq!(share.api_key_secret.as_deref(), Some("paper-btc-api-0f7b1a52"));
        }
    }

    #[test]
    fn an_invalid_spec_is_stalled_and_keeps_what_is_known_of_the_last_good_one() {
        let bot = validated();
        let hash = bot.rendering.config_hash.clone();
        let ready = computed(
            &Outcome::Applied(Stated::from(&bot)),
            &Rollout::Available,
            Connection::Live,
            Some(&hash),
            &TradingBotStatus::default(),
            1,
        );
        let refused = &Outcome::Refused(Reason::InvalidSpec, "spec.risk.x: is wrong".into());
        let share = computed(refused, &Rollout::Available, Connection::Live, Some(&hash), &ready, 2);
        assert_eq!(
            words(&share),
            [
                "Ready=False/InvalidSpec",
                "Stalled=True/InvalidSpec",
                "ConfigValid=False/InvalidSpec",
                "AgentConnected=True/LeaseHeld"
            ]
        );
        assert_eq!((&share.config_hash, &share.summary), (&ready.config_hash, &ready.summary));
        for condition in &share.conditions[..3] {
            assert!(condition.message.contains("keeps its last good"), "{}", condition.message);
        }
        let missing = &Outcome::Refused(Reason::MissingConfigMap, "there is no btc-h1".into());
        let share = computed(missing, &Rollout::Available, Connection::Live, Some(&hash), &ready, 2);
        assert!(share.conditions[0].message.contains("keeps its last good"), "limits may be in the edit too");
    }

    #[test]
    fn a_failed_write_is_reconciling_and_a_collision_is_stalled() {
        let bot = validated();
        for (reason, type_) in [(Reason::ApplyFailed, "Reconciling"), (Reason::NameCollision, "Stalled")] {
            let outcome = Outcome::Failed(Stated::from(&bot), reason, "words".into());
            let share = computed(
                &outcome,
                &Rollout::Available,
                Connection::Live,
                None,
                &TradingBotStatus::default(),
                1,
            );
            assert_eq!(
                words(&share)[..2],
                [format!("Ready=False/{reason}"), format!("{type_}=True/{reason}")]
            );
            assert_eq!(share.conditions[0].message, "words");
        }
    }

    #[test]
    fn times_move_only_when_a_status_flips_and_equal_observations_make_equal_shares() {
        let bot = validated();
        let applied = &Outcome::Applied(Stated::from(&bot));
        let one = computed(
            applied,
            &Rollout::Progressing,
            Connection::Unheld,
            None,
            &TradingBotStatus::default(),
            1,
        );
        let two = computed(applied, &Rollout::Progressing, Connection::Unheld, None, &one, 2);
        assert_eq!(one, two);
        let three = computed(applied, &Rollout::Available, Connection::Unheld, None, &two, 3);
        assert_eq!(three.conditions[0].last_transition_time, at(1), "another reason, the same status");
        let hash = bot.rendering.config_hash.clone();
        let four = computed(applied, &Rollout::Available, Connection::Live, Some(&hash), &three, 4);
        assert_eq!(four.conditions[0].last_transition_time, at(4));
        let valid = four.conditions.iter().find(|c| c.type_ == "ConfigValid").unwrap();
        assert_eq!(valid.last_transition_time, at(1));
    }
}
