use super::bench::{Bench, failure};
use super::*;
use crate::watch::Digest;
use crds::api::TradingBotStatus;
use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

fn owner() -> Owner {
    validate::tests::validated().owner
}

async fn look(bench: &Bench, bot: &Arc<Guarded>, cause: Cause) -> Result<Action, Failure> {
    bench.context.causes.add(BotRef::from_obj(&**bot), cause);
    reconcile(Arc::clone(bot), Arc::clone(&bench.context)).await
}

fn looked(outcome: Outcome) -> Arc<Looked> {
    Arc::new(Looked { generation: 3, outcome, stated: None, built: None })
}

fn ready(bot: &mut Value) {
    bot["status"] = json!({"observedGeneration": 2, "configHash": "abc", "conditions": [
        {"type": "Ready", "status": "True", "reason": "AgentReady", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "FeedHealthy", "status": "True", "reason": "Replaying", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]});
}

#[tokio::test]
async fn a_bot_that_others_keep_writing_waits_longer_each_time_and_is_not_taken_for_failing() {
    let mut bench = Bench::new();
    let bot = bench.show(|_| {});
    let (uid, context) = (owner().uid, &bench.context);
    let wait = || {
        wait_after(Arc::clone(&bot), &Failure::Outdated, Arc::clone(context));
        context.causes.rest(&BotRef::from_obj(&*bot)).unwrap()
    };
    let first = wait();
    assert!(first <= Duration::from_millis(120), "{first:?}");
    tokio::time::sleep(first + Duration::from_millis(5)).await;
    let second = wait();
    assert!(second > Duration::from_millis(150), "{second:?}");
    assert_eq!((context.outdated.failures(&uid), context.backoff.failures(&uid)), (2, 0));
}

#[tokio::test]
async fn a_lost_claim_is_made_anew_as_soon_as_the_agent_lets_go() {
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|_| {});
    bench.context.looks.keep(&owner().uid, looked(Outcome::Failed(Reason::ClaimLost, "m".into())));
    // It failed a moment ago, and is not due yet.
    bench.context.causes.stages_in(owner().bot_ref(), Duration::from_secs(300));
    let stays = serde_json::to_value(bot.meta()).unwrap();
    bench.server.answer("GET", "/tradingbots/paper-btc", 200, json!({"metadata": stays}));
    look(&bench, &bot, Cause::Status).await.unwrap();
    let calls = bench.server.calls();
    let claim = "POST /api/v1/namespaces/trading/persistentvolumeclaims";
    assert!(calls.iter().any(|call| call == claim), "{calls:#?}");
    bench.context.looks.keep(&owner().uid, looked(Outcome::Failed(Reason::ApplyFailed, "m".into())));
    look(&bench, &bot, Cause::Status).await.unwrap();
    let calls = bench.server.calls();
    assert!(!calls.iter().any(|call| call.starts_with("POST /api/v1")), "the status alone: {calls:#?}");
}

/// A bot whose agent runs and whose bars are gone, before a server that does not take its ConfigMap.
fn short_of_bars(code: u16, refusal: Value) -> (Bench, Arc<Guarded>) {
    let mut bench = Bench::new();
    let bot = bench.show(ready);
    bench.make(ChildKind::Deployment);
    bench.server.answer("POST", "/configmaps", code, refusal);
    (bench, bot)
}

#[tokio::test]
async fn a_configuration_that_cannot_be_handed_over_does_not_hide_why_the_bot_is_refused() {
    let (bench, bot) = short_of_bars(403, failure(403, "Forbidden", "exceeded quota"));
    let failed = look(&bench, &bot, Cause::Stages).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::ApplyFailed);
    let looked = bench.context.looks.get(&owner().uid).unwrap();
    assert_eq!(looked.stated, None, "the agent was given nothing");
    let Outcome::Refused(Reason::MissingConfigMap, said) = &looked.outcome else { panic!("{looked:?}") };
    for part in ["btc-h1", "keeps its last good configuration", "exceeded quota"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let (_, share) = bench.context.shares.newest(&owner().uid, 0, Some(&TradingBotStatus::default()));
    assert_eq!(share.observed_generation, Some(3), "the status tells");
    assert_eq!(share.conditions[0].reason, "MissingConfigMap");
}

#[tokio::test]
async fn nothing_is_handed_over_in_a_namespace_that_ends_and_that_is_no_failure() {
    let mut ending = failure(403, "Forbidden", "it is being terminated");
    ending["details"] = json!({"causes": [{"reason": "NamespaceTerminating"}]});
    let (bench, bot) = short_of_bars(403, ending);
    look(&bench, &bot, Cause::Stages).await.unwrap();
    assert_eq!(bench.server.calls().len(), 1, "the status is not written");
}

#[tokio::test]
async fn a_configuration_that_the_watch_has_not_shown_yet_is_looked_for_again() {
    let (bench, bot) = short_of_bars(201, Value::Null);
    let child = build::build(&validate::tests::validated()).unwrap();
    let child = child.into_iter().find(|child| child.kind == ChildKind::ConfigMap).unwrap();
    let mut written = child.desired;
    written["metadata"]["uid"] = json!("child");
    written["metadata"]["resourceVersion"] = json!("10");
    let written = serde_json::from_value(written).unwrap();
    bench.context.children.written(ChildKind::ConfigMap, child.hash, child.hash, &written, None);
    look(&bench, &bot, Cause::Stages).await.unwrap();
    let rest = bench.context.causes.rest(&owner().bot_ref()).unwrap();
    assert!(rest > Duration::from_secs(1), "{rest:?}");
}

#[tokio::test]
async fn nothing_is_kept_of_a_bot_that_goes_while_it_is_looked_at() {
    let mut bench = Bench::new();
    let bot = bench.show(ready);
    bench.take(&Event::Delete(Guarded::clone(&bot)));
    look(&bench, &bot, Cause::Stages).await.unwrap();
    let (uid, context) = (owner().uid, &bench.context);
    assert_ne!(bench.server.calls(), Vec::<String>::new(), "it was looked at");
    assert!(context.looks.get(&uid).is_none());
    assert_eq!(context.shares.newest(&uid, 7, None), (7, TradingBotStatus::default()));
    for failure in [Failure::Timeout, Failure::Outdated] {
        wait_after(Arc::clone(&bot), &failure, Arc::clone(context));
        assert_eq!((context.backoff.failures(&uid), context.outdated.failures(&uid)), (0, 0));
        assert_eq!(context.causes.rest(&owner().bot_ref()), None);
    }
}

#[tokio::test]
async fn who_leads_again_reports_the_configuration_that_another_process_handed_over_since() {
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|_| {});
    look(&bench, &bot, Cause::Stages).await.unwrap();
    let hash = |bench: &Bench| bench.context.looks.get(&owner().uid).unwrap().stated.clone();
    assert!(hash(&bench).is_some());
    bench.context.begin_term();
    let bot = bench.show(|bot| {
        bot["metadata"]["resourceVersion"] = json!("2000");
        bot["metadata"]["generation"] = json!(5);
        bot["spec"]["reconciliation"] = json!("Suspended");
        bot["status"] = json!({"observedGeneration": 4, "configHash": "of-the-other"});
    });
    look(&bench, &bot, Cause::Stages).await.unwrap();
    assert_eq!(hash(&bench), None);
    let (_, share) = bench.context.shares.newest(&owner().uid, 0, None);
    assert_eq!((share.observed_generation, share.config_hash.as_deref()), (Some(5), Some("of-the-other")));
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_named() {
    let mut bench = Bench::new();
    let bot = bench.show(ready);
    bench.context.looks.keep(&owner().uid, looked(Outcome::Applied));
    bench.server.answer("GET", "/leases/", 403, failure(403, "Forbidden", "no right"));
    let failed = look(&bench, &bot, Cause::Status).await.unwrap_err().to_string();
    assert_eq!(failed, "reading the agent's Lease failed: no right; it is tried again");
}

#[tokio::test]
async fn that_the_agent_is_gone_is_said_once_though_the_watch_lags() {
    let mut bench = Bench::new();
    let bot = bench.show(ready);
    bench.context.looks.keep(&owner().uid, looked(Outcome::Applied));
    look(&bench, &bot, Cause::Status).await.unwrap();
    let writes = |calls: Vec<String>| calls.iter().filter(|call| call.ends_with("/status")).count();
    assert_eq!(writes(bench.server.calls()), 2, "one of each share");
    let written = bench.context.shares.newest(&owner().uid, 0, None).0;
    assert_eq!(written, bench.server.version(), "the later write counts");
    look(&bench, &bot, Cause::Status).await.unwrap();
    assert_eq!(bench.server.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_step_of_an_agent_that_starts_is_told_with_the_next_one_and_that_it_is_ready_at_once() {
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|_| {});
    let writes = |bench: &Bench| bench.server.calls().iter().filter(|call| call.ends_with("/status")).count();
    look(&bench, &bot, Cause::Stages).await.unwrap();
    assert_eq!(writes(&bench), 1);
    let lease = json!({
        "metadata": {"namespace": "trading", "name": "paper-btc"},
        "spec": {"holderIdentity": "pod", "leaseDurationSeconds": 40, "renewTime": Timestamp::now()},
    });
    bench.context.leases.observe(&Event::Apply(serde_json::from_value(lease).unwrap()));
    look(&bench, &bot, Cause::Status).await.unwrap();
    assert_eq!(writes(&bench), 0);
    assert!(bench.context.causes.rest(&owner().bot_ref()).is_some(), "it is told even if nothing follows");
    let said = bench.context.shares.newest(&owner().uid, 0, None).1;
    bench.make_changed(ChildKind::Deployment, |deployment| {
        deployment["metadata"]["resourceVersion"] = json!("5000");
        deployment["metadata"]["generation"] = json!(1);
        deployment["status"] = json!({"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1});
    });
    let bot = bench.show(|bot| {
        bot["metadata"]["resourceVersion"] = json!("5000");
        bot["status"] = serde_json::to_value(&said).unwrap();
        bot["status"]["agent"] = json!({
            "pod": "pod", "version": "1", "configHash": said.config_hash, "startedAt": Timestamp::now(), "loop": "Running",
        });
    });
    look(&bench, &bot, Cause::Status).await.unwrap();
    assert_eq!(writes(&bench), 1);
    let said = bench.context.shares.newest(&owner().uid, 0, None).1;
    assert_eq!(said.conditions[0].reason, "AgentReady");
    assert_eq!(bench.context.causes.rest(&owner().bot_ref()), None);
}

#[tokio::test]
async fn a_claim_that_may_not_grow_is_told_and_keeps_nothing_else_from_being_made() {
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|_| {});
    bench.make_changed(ChildKind::JournalClaim, |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = json!("1Mi");
    });
    bench.server.answer("PATCH", "/persistentvolumeclaims/", 403, failure(403, "Forbidden", "may not grow"));
    // A first failure that does not pass by itself is told at once.
    let failed = look(&bench, &bot, Cause::Stages).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::ApplyFailed);
    assert!(failed.to_string().contains("may not grow"), "{failed}");
    let calls = bench.server.calls();
    assert!(
        calls.iter().any(|call| call.starts_with("POST") && call.ends_with("/deployments")),
        "{calls:#?}"
    );
}

#[tokio::test]
async fn a_certificate_that_another_bot_came_to_share_while_it_was_written_is_written_again() {
    let address = |path: &str| {
        let tls = json!({"secretName": "web", "issuerRef": {"kind": "Issuer", "name": "ca"}});
        json!({"host": "a.example.com", "path": path, "ingress": {}, "tls": tls})
    };
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|bot| bot["spec"]["expose"] = address("/a"));
    let other = bench.bot(|bot| {
        bot["metadata"]["name"] = json!("other");
        bot["metadata"]["uid"] = json!("00000000");
        bot["spec"]["expose"] = address("/b");
    });
    bench.take(&Event::Apply(other));
    let held = bench.server.hold("/certificates");
    let hosts = &bench.context.hosts;
    let shares = async {
        while hosts.claims(&owner()).is_empty() {
            tokio::task::yield_now().await;
        }
        let other = Owner { name: "other".into(), namespace: "trading".into(), uid: "00000000".into() };
        let expose = serde_json::from_value(address("/b")).unwrap();
        hosts.claim(&other, &crds::api::Expose::new(expose).unwrap()).unwrap();
        held.cancel();
    };
    tokio::join!(async { look(&bench, &bot, Cause::Stages).await.unwrap() }, shares);
    assert_eq!(bench.context.causes.rest(&owner().bot_ref()), Some(Duration::ZERO));
    let calls = bench.server.calls();
    assert!(calls.iter().any(|call| call.ends_with("/certificates")), "{calls:#?}");
    look(&bench, &bot, Cause::Status).await.unwrap();
    let calls = bench.server.calls();
    assert!(
        calls.iter().any(|call| call.contains("PATCH") && call.contains("/certificates/web")),
        "{calls:#?}"
    );
    let rest = bench.context.causes.rest(&owner().bot_ref());
    assert!(rest.is_none_or(|rest| rest > Duration::from_secs(1)), "it does not go on: {rest:?}");
}

#[tokio::test]
async fn what_the_watch_showed_while_a_look_began_is_not_overlooked() {
    let mut bench = Bench::new();
    let old = bench.show(|bot| bot["metadata"]["generation"] = json!(2));
    bench.show(|bot| bot["metadata"]["resourceVersion"] = json!("200"));
    look(&bench, &old, Cause::Stages).await.unwrap();
    assert_eq!(bench.context.looks.get(&owner().uid).unwrap().generation, 3);
}

#[tokio::test]
async fn the_entry_of_a_creation_is_converted_only_where_a_field_may_have_to_go() {
    let child = build::build(&validate::tests::validated()).unwrap();
    let child = child.into_iter().find(|child| child.kind == ChildKind::Service).unwrap();
    let shape = Digest::of_shape(&child.desired);
    for (known, patches) in [(Some(shape), 1), (Some(child.hash), 2), (None, 2)] {
        let mut bench = Bench::with_bars().await;
        let bot = bench.show(|_| {});
        let created = |service: &mut Value| {
            let made = "2026-01-01T00:00:00Z";
            service["metadata"]["creationTimestamp"] = json!(made);
            service["metadata"]["managedFields"] =
                json!([{"manager": crds::contract::OPERATOR_MANAGER, "operation": "Update", "time": made}]);
        };
        if let Some(shape) = known {
            let mut object = child.desired.clone();
            object["metadata"]["uid"] = json!("child");
            object["metadata"]["resourceVersion"] = json!("9");
            created(&mut object);
            let object = serde_json::from_value(object).unwrap();
            bench.context.children.written(ChildKind::Service, child.hash, shape, &object, None);
        }
        bench.make_changed(ChildKind::Service, |service| {
            created(service);
            service["spec"]["ports"][0]["port"] = json!(1);
        });
        look(&bench, &bot, Cause::Stages).await.unwrap();
        let calls = bench.server.calls();
        let of_service = |call: &&String| call.starts_with("PATCH") && call.contains("/services/");
        assert_eq!(calls.iter().filter(of_service).count(), patches, "{known:?}: {calls:#?}");
    }
}

#[tokio::test]
async fn a_lease_that_lost_its_labels_is_taken_back() {
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|_| {});
    let child = build::build(&validate::tests::validated()).unwrap();
    let mut lease = child.into_iter().find(|child| child.kind == ChildKind::Lease).unwrap().desired;
    lease["metadata"]["uid"] = json!("child");
    lease["metadata"]["resourceVersion"] = json!("9");
    // The watch asks for this one; the bot's name is still there.
    lease["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/managed-by").unwrap();
    bench.server.answer("GET", "/leases/", 200, lease);
    bench.server.answer("POST", "/leases", 409, failure(409, "AlreadyExists", "it is there"));
    look(&bench, &bot, Cause::Stages).await.unwrap();
    let calls = bench.server.calls();
    let of_lease = |call: &&String| call.starts_with("PATCH") && call.contains("/leases/paper-btc");
    assert_eq!(calls.iter().filter(of_lease).count(), 1, "{calls:#?}");
}

#[tokio::test]
async fn a_secret_that_another_process_made_is_doubted_while_no_agent_trades() {
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|_| {});
    bench.make_changed(ChildKind::Deployment, |deployment| {
        let name = crds::contract::api_secret_name(&owner().name, &owner().uid);
        deployment["metadata"]["annotations"][build::annotation::API_KEY_SECRET] = json!(name);
    });
    look(&bench, &bot, Cause::Stages).await.unwrap();
    let calls = bench.server.calls();
    assert!(!calls.iter().any(|call| call.ends_with("/secrets")), "{calls:#?}");
    let rest = bench.context.causes.rest(&owner().bot_ref()).unwrap();
    assert!(rest > Duration::from_secs(20) && rest <= Duration::from_secs(120), "{rest:?}");
    let lease = json!({
        "metadata": {"namespace": "trading", "name": "paper-btc"},
        "spec": {"holderIdentity": "pod", "leaseDurationSeconds": 40, "renewTime": Timestamp::now()},
    });
    bench.context.leases.observe(&Event::Apply(serde_json::from_value(lease).unwrap()));
    look(&bench, &bot, Cause::Stages).await.unwrap();
    let rest = bench.context.causes.rest(&owner().bot_ref());
    assert!(rest.is_none_or(|rest| rest <= Duration::from_secs(20)), "it has found its keys: {rest:?}");
}

#[tokio::test]
async fn what_a_former_bot_left_is_deleted_and_not_what_was_made_under_its_name_since() {
    let mut bench = Bench::with_bars().await;
    let bot = bench.show(|_| {});
    bench.make_changed(ChildKind::Service, |service| {
        service["metadata"]["ownerReferences"][0]["uid"] = json!("a former bot's");
    });
    look(&bench, &bot, Cause::Stages).await.unwrap();
    let sent = bench.server.sent();
    let of_service =
        |call: &str| sent.iter().find(|(sent, _)| sent.starts_with(call) && sent.contains("/services"));
    let (_, deletion) = of_service("DELETE").unwrap_or_else(|| panic!("{sent:#?}"));
    assert_eq!(deletion["preconditions"], json!({"uid": "child"}));
    assert!(of_service("POST").is_some(), "and made anew: {sent:#?}");
}
