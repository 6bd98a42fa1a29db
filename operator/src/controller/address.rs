//! Whether a bot can have the address that it asks for: the last question before it is built.

use crds::api::{Reconciliation, Route, TlsSpec};
use crds::contract::child_name;

use super::bot::Owner;
use super::validate::{Refusal, Validated};
use crate::watch::{ChildKind, Children, Hosts};

/// Claims the address of a bot whose spec is valid otherwise, and finds out who shares its certificate. A bot whose
/// children are left alone claims nothing.
///
/// # Errors
/// When the cluster lacks an API that the address needs, or may lack it, or another bot stands against it.
pub fn claim(mut bot: Validated, children: &Children, hosts: &Hosts) -> Result<Validated, Refusal> {
    if bot.reconciliation == Reconciliation::Suspended {
        return Ok(bot);
    }
    let Some(expose) = bot.deployment.expose.clone() else {
        hosts.waive(&bot.owner);
        return Ok(bot);
    };
    if matches!(expose.route, Route::Gateway(_)) {
        match children.has(ChildKind::HttpRoute) {
            Some(true) => {}
            Some(false) => return Err(Refusal::GatewayApiMissing { live: live(bot, children) }),
            None => return Err(unknown(ChildKind::HttpRoute, bot, children)),
        }
    }
    let issued = match expose.tls.clone() {
        Some(TlsSpec { secret_name, issuer_ref: Some(_) }) => Some(secret_name),
        _ => None,
    };
    if let Some(secret) = &issued {
        match children.has(ChildKind::Certificate) {
            Some(true) => {}
            Some(false) => {
                let secret = secret.clone();
                return Err(Refusal::CertManagerMissing { secret, live: live(bot, children) });
            }
            None => return Err(unknown(ChildKind::Certificate, bot, children)),
        }
    }
    if let Err(conflict) = hosts.claim(&bot.owner, &expose) {
        return Err(Refusal::Host { conflict, live: live(bot, children) });
    }
    if issued.is_some() {
        bot.certificate_users = certificate_users(&bot, children, hosts);
    }
    Ok(bot)
}

/// Whether another bot came to share the certificate, or left it, since the claim: what was written of its owners since
/// may have replaced what the other one wrote.
pub fn is_outdated(bot: &Validated, children: &Children, hosts: &Hosts) -> bool {
    !bot.certificate_users.is_empty() && bot.certificate_users != certificate_users(bot, children, hosts)
}

/// Who asks for the certificate, and who owns it already: the last good children of a bot that is refused or suspended
/// are served with it, whatever its spec asks for now. Who needs it no more takes itself from among the owners.
fn certificate_users(bot: &Validated, children: &Children, hosts: &Hosts) -> Vec<Owner> {
    let Some(tls) = bot.deployment.expose.as_ref().and_then(|expose| expose.tls.as_ref()) else {
        return Vec::new();
    };
    let (namespace, name) = (&bot.owner.namespace, &tls.secret_name);
    let mut users = hosts.certificate_users(namespace, name);
    if let Some(certificate) = children.get(ChildKind::Certificate, namespace, name) {
        users.extend(certificate.owners(namespace, name).into_iter().filter(|owner| hosts.knows(owner)));
    }
    users.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
    users.dedup();
    users
}

fn unknown(kind: ChildKind, bot: Validated, children: &Children) -> Refusal {
    Refusal::KindUnknown { kind: kind.as_str(), live: live(bot, children) }
}

/// What an agent that runs can take over all the same: limits that were lowered must not wait for an address.
fn live(bot: Validated, children: &Children) -> Option<Box<Validated>> {
    let deployment =
        children.get(ChildKind::Deployment, &bot.owner.namespace, &child_name(&bot.owner.name))?;
    let in_use = deployment.is_of(&bot.owner).then(|| deployment.deployment()?.restart_hash.as_deref());
    (in_use.flatten() == Some(bot.restart_hash.as_str())).then(|| Box::new(bot))
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::super::validate::tests::{exposed, validated};
    use super::*;
    use crate::watch::Triggers;
    use crate::watch::tests::where_has;
    use crds::api::TradingBot;
    use kube::Resource;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    #[test]
    fn a_kind_of_which_nothing_is_known_yet_is_not_said_to_be_missing() {
        let route = json!({"parentRef": {"name": "gateway"}});
        let issued = json!({"secretName": "s", "issuerRef": {"kind": "Issuer", "name": "ca"}});
        let addresses = [
            (ChildKind::HttpRoute, json!({"host": "a.example.com", "gateway": route})),
            (ChildKind::Certificate, json!({"host": "a.example.com", "ingress": {}, "tls": issued})),
        ];
        for (kind, address) in addresses {
            let (triggers, _) = Triggers::new(reflector::store().0);
            let hosts = Hosts::new(triggers);
            let claimed = |answer| claim(exposed(address.clone()), &where_has(kind, answer), &hosts);
            let refusal = claimed(None).unwrap_err();
            assert!(matches!(refusal, Refusal::KindUnknown { .. }), "{refusal}");
            let refusal = claimed(Some(false)).unwrap_err();
            assert!(!matches!(refusal, Refusal::KindUnknown { .. }), "{refusal}");
            claimed(Some(true)).unwrap();
        }
    }

    #[tokio::test]
    async fn who_owns_a_certificate_already_stays_among_its_owners_as_long_as_it_is_there() {
        let tls = json!({"secretName": "web", "issuerRef": {"kind": "Issuer", "name": "ca"}});
        let address = json!({"host": "a.example.com", "ingress": {}, "tls": tls});
        let mut bench = Bench::new();
        bench.show(|bot| bot["spec"]["expose"] = address.clone());
        // It asks for nothing any more, and is suspended: it is still served with the certificate.
        let other = bench.bot(|bot| {
            bot["metadata"]["name"] = json!("other");
            bot["metadata"]["uid"] = json!("00000000");
        });
        bench.take(&Event::Apply(other.clone()));
        let bot = exposed(address);
        let owner = |name: &str, uid: &str| json!({"apiVersion": TradingBot::api_version(&()), "kind": "TradingBot", "name": name, "uid": uid});
        let certificate = json!({"metadata": {
            "name": "web", "namespace": "trading", "uid": "c", "resourceVersion": "9",
            "ownerReferences": [owner("other", "00000000"), owner("gone", "1"), owner(&bot.owner.name, &bot.owner.uid)]
        }});
        let children = &bench.context.children;
        children.read(ChildKind::Certificate, &serde_json::from_value(certificate).unwrap());
        let users = |bench: &Bench| -> Vec<String> {
            let bot = claim(bot.clone(), &bench.context.children, &bench.context.hosts).unwrap();
            bot.certificate_users.into_iter().map(|owner| owner.name).collect()
        };
        assert_eq!(users(&bench), ["other", bot.owner.name.as_str()]);
        bench.take(&Event::Delete(other));
        assert_eq!(users(&bench), [bot.owner.name.as_str()]);
    }

    #[tokio::test]
    async fn a_bot_that_asks_for_no_address_any_more_claims_none() {
        let mut bench = Bench::new();
        let address = json!({"host": "a.example.com", "ingress": {}});
        bench.show(|bot| bot["spec"]["expose"] = address.clone());
        let (hosts, children) = (&bench.context.hosts, &bench.context.children);
        let bot = claim(exposed(address), children, hosts).unwrap();
        assert_eq!(hosts.claims(&bot.owner).len(), 1);
        claim(validated(), children, hosts).unwrap();
        assert_eq!(hosts.claims(&bot.owner), []);
    }
}
