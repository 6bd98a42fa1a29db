//! From what is observed to the operator's share of the status. A pure function.

use crds::api::{Claim, Expose, MountedCertificate, TradingBotStatus};
use crds::config::State;
use crds::contract::{LABEL_BOT, api_secret_name, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::super::bot::Owner;
use super::Rollout;
use super::looked::{Looked, Outcome, Stated};
use super::tls::{self, Issued, Source};
use crate::reason::Reason;
use crate::watch::Connection;

/// What is so.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The bot.
    pub owner: &'a Owner,
    /// What the earlier stages found out.
    pub looked: &'a Looked,
    /// How far the Deployment is.
    pub rollout: &'a Rollout,
    /// Whether an agent holds the Lease.
    pub connection: Connection,
    /// The hash of the configuration that the agent says it runs.
    pub agent_hash: Option<&'a str>,
    /// What the bot holds of what its spec asks for.
    pub claims: &'a [Claim],
    /// What cert-manager says of the certificate.
    pub issued: Option<&'a Issued>,
    /// What the agent says of it.
    pub mounted: Option<&'a MountedCertificate>,
}

/// What is to be said of one condition.
pub struct Verdict {
    /// Whether it is true.
    pub holds: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Verdict {
    /// A verdict.
    pub fn new(holds: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { holds, reason, message: message.into() }
    }
}

/// The schema takes so many.
const MOST_CLAIMS: usize = 32;

/// Computes the operator's share; what did not change keeps its time.
pub fn share(observed: &Observed<'_>, previous: &TradingBotStatus, now: Time) -> TradingBotStatus {
    let Observed { owner, looked, rollout, connection, agent_hash, claims, issued, mounted } = *observed;
    let Looked { generation, outcome, stated, built } = looked;
    let mut share = TradingBotStatus {
        observed_generation: Some(*generation),
        config_hash: previous.config_hash.clone(),
        api_key_secret: previous.api_key_secret.clone(),
        summary: previous.summary.clone(),
        url: previous.url.clone(),
        claims: previous.claims.clone(),
        tls: previous.tls.clone(),
        ..TradingBotStatus::default()
    };
    if let Some(Stated { config_hash, summary }) = stated {
        share.config_hash = Some(config_hash.clone());
        share.api_key_secret = Some(api_secret_name(&owner.name, &owner.uid));
        share.summary = Some(summary.clone());
    }
    let connected = connected(connection);
    let ready = match outcome {
        Outcome::Refused(reason, message) | Outcome::Failed(reason, message) => {
            Verdict::new(false, *reason, message.clone())
        }
        Outcome::Applied | Outcome::Suspended(_) => ready(owner, &share, rollout, &connected, agent_hash),
    };
    let valid = match outcome {
        // With defaults that this operator does not have nobody here can tell what the spec makes.
        Outcome::Refused(reason @ (Reason::InvalidSpec | Reason::UnknownDefaults), message) => {
            Verdict::new(false, *reason, message.clone())
        }
        _ => Verdict::new(true, Reason::Valid, "the spec makes a configuration"),
    };
    let mut verdicts = Vec::with_capacity(6);
    if !ready.holds {
        let type_ = if ready.reason.is_stalled() { condition::STALLED } else { condition::RECONCILING };
        verdicts.push((type_, Verdict::new(true, ready.reason, ready.message.clone())));
    }
    verdicts.insert(0, (condition::READY, ready));
    verdicts.push((condition::CONFIG_VALID, valid));
    verdicts.push((condition::AGENT_CONNECTED, connected));
    if let Outcome::Suspended(wanted) = outcome {
        verdicts.push((condition::RECONCILIATION_SUSPENDED, suspended(wanted, &share)));
    }
    match outcome {
        Outcome::Applied => share.claims = claims.to_vec(),
        // What the former spec asked for may still be served.
        Outcome::Failed(..) => {
            share.claims.extend(claims.iter().filter(|claim| !previous.claims.contains(claim)).cloned());
            share.claims.truncate(MOST_CLAIMS);
        }
        Outcome::Refused(..) | Outcome::Suspended(_) => {}
    }
    let expose = built.as_ref().and_then(|built| built.expose.as_deref());
    if built.is_some() {
        share.url = expose.map(Expose::url);
        share.tls = None;
    }
    if let Outcome::Refused(reason @ Reason::CertManagerMissing, message) = outcome {
        verdicts.push((condition::TLS_READY, Verdict::new(false, *reason, message.clone())));
    } else if let Some((expose, tls)) = expose.and_then(|expose| Some((expose, expose.tls.as_ref()?))) {
        let source = match tls.issuer_ref {
            Some(_) => Source::Issued(issued),
            None => Source::Mounted(mounted),
        };
        share.tls = Some(source.status(tls));
        let verdict = tls::verdict(&expose.host, tls, &owner.namespace, source, now.0);
        verdicts.push((condition::TLS_READY, verdict));
    }
    share.conditions =
        verdicts.iter().map(|(type_, verdict)| made(type_, verdict, *generation, previous, &now)).collect();
    if built.is_none() && !verdicts.iter().any(|(type_, _)| *type_ == condition::TLS_READY) {
        // This process has built nothing yet: the certificate is what it was said to be.
        share
            .conditions
            .extend(previous.conditions.iter().filter(|c| c.type_ == condition::TLS_READY).cloned());
    }
    share
}

fn suspended(wanted: &str, share: &TradingBotStatus) -> Verdict {
    let pending = if share.config_hash.as_deref() == Some(wanted) {
        String::new()
    } else {
        format!("; configuration {} is not handed to the agent before", short(wanted))
    };
    let message = format!(
        "spec.reconciliation is Suspended: nothing is made, changed or repaired until it is Enabled{pending}"
    );
    Verdict::new(true, Reason::Suspended, message)
}

fn connected(connection: Connection) -> Verdict {
    match connection {
        Connection::Live => Verdict::new(true, Reason::LeaseHeld, "an agent holds the lease and renews it"),
        Connection::Expired | Connection::Doubtful => Verdict::new(
            false,
            Reason::LeaseExpired,
            "the agent stopped renewing its lease and opens no position; look at its pod and its log",
        ),
        Connection::Unheld => Verdict::new(false, Reason::AgentNotConnected, "no agent holds the lease yet"),
    }
}

fn ready(
    owner: &Owner,
    share: &TradingBotStatus,
    rollout: &Rollout,
    connected: &Verdict,
    agent_hash: Option<&str>,
) -> Verdict {
    let Some(wanted) = &share.config_hash else {
        return Verdict::new(
            false,
            Reason::Suspended,
            "no agent was ever made for this bot: set spec.reconciliation to Enabled",
        );
    };
    match rollout {
        Rollout::Refused(words) => {
            return Verdict::new(
                false,
                Reason::PodRefused,
                format!("the agent's pod cannot be made: {words}"),
            );
        }
        Rollout::Progressing | Rollout::NoPod => {
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
    let paused = if share.summary.as_ref().is_some_and(|said| said.state == State::Paused.as_str()) {
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
    use super::super::super::validate::Validated;
    use super::super::super::validate::tests::validated;
    use super::*;
    use jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn looked(outcome: Outcome, stated: Option<&Validated>) -> Looked {
        Looked { generation: 3, outcome, stated: stated.map(Stated::from), built: None }
    }

    fn computed(
        looked: &Looked,
        rollout: &Rollout,
        connection: Connection,
        agent_hash: Option<&str>,
        previous: &TradingBotStatus,
        now: i64,
    ) -> TradingBotStatus {
        let owner = validated().owner;
        let claims = &[];
        let observed = Observed {
            owner: &owner,
            looked,
            rollout,
            connection,
            agent_hash,
            claims,
            issued: None,
            mounted: None,
        };
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
        let applied = looked(Outcome::Applied, Some(&bot));
        let (up, not_yet) = (Rollout::Available, Rollout::Progressing);
        let live = Connection::Live;
        for (rollout, connection, agent, ready) in [
            (&Rollout::NoPod, Connection::Unheld, None, "Ready=False/AgentStarting"),
            (&not_yet, Connection::Unheld, None, "Ready=False/AgentStarting"),
            (&not_yet, live, Some(hash.as_str()), "Ready=False/AgentStarting"),
            (&Rollout::Refused("quota".into()), live, Some(hash.as_str()), "Ready=False/PodRefused"),
            (&up, Connection::Unheld, None, "Ready=False/AgentNotConnected"),
            (&up, Connection::Expired, Some(hash.as_str()), "Ready=False/LeaseExpired"),
            (&up, live, None, "Ready=False/ConfigPending"),
            (&up, live, Some("old"), "Ready=False/ConfigPending"),
            (&up, live, Some(hash.as_str()), "Ready=True/AgentReady"),
        ] {
            let share = computed(&applied, rollout, connection, agent, &none, 0);
            let words = words(&share);
            assert_eq!(words[0], ready);
            let reconciling = words.iter().any(|w| w.starts_with("Reconciling=True"));
            assert_eq!(reconciling, words[0].starts_with("Ready=False"), "{words:?}");
            assert!(!words.iter().any(|w| w.starts_with("Stalled")));
            assert_eq!(share.config_hash.as_deref(), Some(hash.as_str()));
            assert_eq!(share.api_key_secret.as_deref(), Some("paper-btc-api-0f7b1a52"));
        }
    }

    fn ready(bot: &Validated, now: i64) -> TradingBotStatus {
        computed(
            &looked(Outcome::Applied, Some(bot)),
            &Rollout::Available,
            Connection::Live,
            Some(&bot.rendering.config_hash),
            &TradingBotStatus::default(),
            now,
        )
    }

    #[test]
    fn an_invalid_spec_is_stalled_and_keeps_what_is_known_of_the_last_good_one() {
        let bot = validated();
        let (hash, ready) = (bot.rendering.config_hash.clone(), ready(&bot, 1));
        let refused = looked(Outcome::Refused(Reason::InvalidSpec, "spec.risk.x: is wrong".into()), None);
        let share = computed(&refused, &Rollout::Available, Connection::Live, Some(&hash), &ready, 2);
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
        let forged = TradingBotStatus { config_hash: Some("forged".into()), ..ready.clone() };
        let known = Looked { stated: Some(Stated::from(&bot)), ..refused };
        let share = computed(&known, &Rollout::Available, Connection::Live, Some(&hash), &forged, 2);
        assert_eq!(share.config_hash, ready.config_hash, "what this process knows counts more");
    }

    #[test]
    fn a_spec_that_was_never_resolved_is_not_called_valid() {
        let valid = |reason| {
            let refused = looked(Outcome::Refused(reason, "words".into()), None);
            let none = TradingBotStatus::default();
            let share = computed(&refused, &Rollout::Available, Connection::Live, None, &none, 1);
            words(&share).into_iter().find(|word| word.starts_with("ConfigValid")).unwrap()
        };
        assert_eq!(valid(Reason::InvalidSpec), "ConfigValid=False/InvalidSpec");
        assert_eq!(valid(Reason::UnknownDefaults), "ConfigValid=False/UnknownDefaults");
        assert_eq!(valid(Reason::MissingConfigMap), "ConfigValid=True/Valid");
    }

    #[test]
    fn a_suspended_bot_is_as_ready_as_its_agent_and_says_what_it_waits_with() {
        let bot = validated();
        let (hash, ready) = (bot.rendering.config_hash.clone(), ready(&bot, 1));
        let suspended = |wanted: &str| looked(Outcome::Suspended(wanted.into()), None);
        let of = |looked: &Looked, connection, previous: &TradingBotStatus| {
            computed(looked, &Rollout::Available, connection, Some(&hash), previous, 2)
        };
        let share = of(&suspended(&hash), Connection::Live, &ready);
        assert_eq!(
            words(&share),
            [
                "Ready=True/AgentReady",
                "ConfigValid=True/Valid",
                "AgentConnected=True/LeaseHeld",
                "ReconciliationSuspended=True/Suspended"
            ]
        );
        assert!(!share.conditions[3].message.contains("configuration "), "it asks for nothing else");
        let edited = of(&suspended("0123456789abcdef"), Connection::Live, &ready);
        assert_eq!(words(&edited)[0], "Ready=True/AgentReady", "the agent runs what it was given");
        assert_eq!(edited.config_hash, ready.config_hash);
        assert!(edited.conditions[3].message.contains("configuration 0123456789ab is not handed"));
        let dead = of(&suspended(&hash), Connection::Expired, &ready);
        assert_eq!(words(&dead)[..2], ["Ready=False/LeaseExpired", "Reconciling=True/LeaseExpired"]);
        let never = of(&suspended(&hash), Connection::Unheld, &TradingBotStatus::default());
        assert_eq!(words(&never)[..2], ["Ready=False/Suspended", "Stalled=True/Suspended"]);
    }

    #[test]
    fn a_failed_write_is_reconciling_and_a_collision_is_stalled() {
        let bot = validated();
        for (reason, type_) in [(Reason::ApplyFailed, "Reconciling"), (Reason::NameCollision, "Stalled")] {
            let failed = looked(Outcome::Failed(reason, "words".into()), Some(&bot));
            let none = TradingBotStatus::default();
            let share = computed(&failed, &Rollout::Available, Connection::Live, None, &none, 1);
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
        let applied = looked(Outcome::Applied, Some(&bot));
        let none = TradingBotStatus::default();
        let one = computed(&applied, &Rollout::Progressing, Connection::Unheld, None, &none, 1);
        let two = computed(&applied, &Rollout::Progressing, Connection::Unheld, None, &one, 2);
        assert_eq!(one, two);
        let three = computed(&applied, &Rollout::Available, Connection::Unheld, None, &two, 3);
        assert_eq!(three.conditions[0].last_transition_time, at(1), "another reason, the same status");
        let hash = bot.rendering.config_hash.clone();
        let four = computed(&applied, &Rollout::Available, Connection::Live, Some(&hash), &three, 4);
        assert_eq!(four.conditions[0].last_transition_time, at(4));
        let valid = four.conditions.iter().find(|c| c.type_ == "ConfigValid").unwrap();
        assert_eq!(valid.last_transition_time, at(1));
    }
}
