//! What the faker writes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::state::{Bot, Hand, Key, Shared, Workload};
use super::watches::bot_resource;

/// What a real agent writes into its Lease.
const LEASE_SECONDS: i32 = 40;
/// Of a Lease that is never renewed.
const A_DAY_SECONDS: i32 = 24 * 3600;
/// After a call that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Does what is due for one bot.
pub async fn look(shared: &Shared, key: &Key) {
    match step(shared, key).await {
        Ok(()) => {}
        // Gone, or changed by someone else: the watch shows it.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
        Err(error) => {
            eprintln!("faker: {}/{}: {error}", key.namespace, key.name);
            tokio::time::sleep(PAUSE).await;
            shared.look(key);
        }
    }
}

async fn step(shared: &Shared, key: &Key) -> Result<(), kube::Error> {
    let Some(bot) = shared.bot(key) else { return Ok(()) };
    let (Some(uid), false) = (&bot.uid, bot.hand.frozen) else { return Ok(()) };
    let Some(workload) = bot.workload.clone() else { return release(shared, key, &bot).await };
    if workload.replicas == 0 || !bot.hand.runs {
        release(shared, key, &bot).await?;
        return mark(shared, key, &workload, 0).await;
    }
    // A pod does not start without what it mounts.
    let (Some(lease), Some(mounted)) = (&bot.lease, &bot.config_hash) else { return Ok(()) };
    let waited = workload.seen.elapsed();
    if waited < shared.options.start_after {
        tokio::time::sleep(shared.options.start_after - waited).await;
    }
    if !hold(shared, key, &bot, lease, &workload.uid).await? {
        return mark(shared, key, &workload, i32::from(bot.hand.available)).await;
    }
    let hash = bot.hand.config_hash.as_ref().unwrap_or(mounted);
    let written = shared.bot(key).and_then(|bot| bot.share);
    let wanted = share(key, &workload, hash, &bot.hand);
    if written.as_ref().is_none_or(|written| without_times(written) != without_times(&wanted)) {
        report(shared, key, uid, wanted).await?;
    }
    mark(shared, key, &workload, i32::from(bot.hand.available)).await
}

/// Takes the Lease or renews it when that is due; whether the agent holds it.
async fn hold(
    shared: &Shared,
    key: &Key,
    bot: &Bot,
    lease: &Lease,
    identity: &str,
) -> Result<bool, kube::Error> {
    let held = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(identity);
    let is_due = !held || bot.due.is_some_and(|due| due <= Instant::now());
    // A share that was never written, since a faker that starts anew takes the Lease again; or one that the
    // operator changed meanwhile, since the agent seemed to be gone.
    let is_new = !held || bot.share.is_none() || has_expired(lease);
    if !(is_due || is_new) {
        return Ok(true);
    }
    if !bot.hand.renews {
        return Ok(false);
    }
    let mut lease = lease.clone();
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.holder_identity = Some(identity.to_owned());
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.renew_time = Some(now);
    spec.lease_duration_seconds =
        Some(if shared.options.renew_every.is_some() { LEASE_SECONDS } else { A_DAY_SECONDS });
    let mut written = replace(shared, key, &lease).await?;
    written.metadata.managed_fields = None;
    shared.note(key, |bot| {
        bot.lease = Some(written);
        bot.due = shared.next_renewal(key, is_new);
        if is_new {
            bot.share = None;
        }
    });
    Ok(true)
}

fn has_expired(lease: &Lease) -> bool {
    let times =
        lease.spec.as_ref().and_then(|spec| Some((spec.renew_time.as_ref()?, spec.lease_duration_seconds?)));
    times.is_some_and(|(renewed, seconds)| {
        Timestamp::now().duration_since(renewed.0).as_secs() >= seconds.into()
    })
}

/// Gives the Lease back.
async fn release(shared: &Shared, key: &Key, bot: &Bot) -> Result<(), kube::Error> {
    shared.note(key, |bot| (bot.due, bot.share) = (None, None));
    let Some(mut lease) = bot.lease.clone() else { return Ok(()) };
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref().unwrap_or_default().is_empty() {
        return Ok(());
    }
    spec.holder_identity = None;
    replace(shared, key, &lease).await.map(drop)
}

async fn replace(shared: &Shared, key: &Key, lease: &Lease) -> Result<Lease, kube::Error> {
    let api: Api<Lease> = Api::namespaced(shared.client.clone(), &key.namespace);
    api.replace(&lease.name_any(), &PostParams::default(), lease).await
}

/// Writes the agent's share under the agent's field manager.
async fn report(shared: &Shared, key: &Key, uid: &str, status: Value) -> Result<(), kube::Error> {
    let resource = bot_resource();
    let api: Api<DynamicObject> = Api::namespaced_with(shared.client.clone(), &key.namespace, &resource);
    let body = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {"name": key.name, "uid": uid},
        "status": status,
    });
    let params = PatchParams::apply("tradingbot-agent").force();
    api.patch_status(&key.name, &params, &Patch::Apply(&body)).await?;
    shared.note(key, |bot| bot.share = Some(status));
    Ok(())
}

/// Says in the Deployment's status that so many pods are available, if it does not say so.
async fn mark(shared: &Shared, key: &Key, workload: &Workload, available: i32) -> Result<(), kube::Error> {
    if workload.observed == workload.generation && workload.available == available {
        return Ok(());
    }
    let api: Api<Deployment> = Api::namespaced(shared.client.clone(), &key.namespace);
    let now = Timestamp::now();
    let condition = |kind: &str, holds: bool, reason: &str| {
        json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": reason,
            "message": "", "lastTransitionTime": now, "lastUpdateTime": now})
    };
    let patch = json!({"status": {
        "observedGeneration": workload.generation,
        "replicas": workload.replicas,
        "updatedReplicas": workload.replicas,
        "readyReplicas": available,
        "availableReplicas": available,
        "conditions": [
            condition("Available", available >= workload.replicas, "MinimumReplicasAvailable"),
            condition("Progressing", true, "NewReplicaSetAvailable"),
        ],
    }});
    api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// The agent's share of the status, as a bot that has just started has it.
fn share(key: &Key, workload: &Workload, config_hash: &str, hand: &Hand) -> Value {
    let now = Timestamp::from_second(Timestamp::now().as_second()).expect("now is a time");
    let (status, reason) = if hand.feed_healthy { ("True", "Replaying") } else { ("False", "FeedStale") };
    json!({
        "conditions": [{"type": "FeedHealthy", "status": status, "reason": reason,
            "message": "prices are those of the faker", "lastTransitionTime": now}],
        "agent": {
            "pod": format!("{}-{}", key.name, workload.uid.get(..8).unwrap_or("0")),
            "image": "localhost/tradingbot-agent:faked",
            "version": "0.1.0",
            "configHash": config_hash,
            "startedAt": now,
            "loop": hand.loop_health,
        },
        "account": {"currency": "USD", "equity": hand.equity, "cash": hand.equity, "dayPnl": "0.00",
            "realizedPnl": "0.00", "unrealizedPnl": "0.00", "drawdownPercent": "0.00"},
        "trading": {"openPositions": 0, "tradesToday": 0, "closedTrades": 0},
    })
}

fn without_times(share: &Value) -> Value {
    let mut share = share.clone();
    share["agent"]["startedAt"] = Value::Null;
    share["conditions"][0]["lastTransitionTime"] = Value::Null;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_differs_by_what_an_agent_would_report_and_not_by_the_time() {
        let workload = Workload {
            uid: "0f7b1a52-9a0e".into(),
            generation: 1,
            replicas: 1,
            observed: 0,
            available: 0,
            seen: Instant::now(),
        };
        let key = Key::new("n", "a");
        let mut one = share(&key, &workload, "abc", &Hand::default());
        one["agent"]["startedAt"] = json!("2026-01-01T00:00:00Z");
        let two = share(&key, &workload, "abc", &Hand::default());
        assert_eq!(without_times(&one), without_times(&two));
        let degraded = Hand { loop_health: "Degraded".into(), ..Hand::default() };
        assert_ne!(without_times(&two), without_times(&share(&key, &workload, "abc", &degraded)));
        assert_ne!(without_times(&two), without_times(&share(&key, &workload, "def", &Hand::default())));
    }
}
