//! The certificate of a host, through cert-manager.
//!
//! One for all bots of a namespace that share the host: each is an owner, so that it goes with the last of them, and
//! whoever of them is looked at writes the whole list.

use std::collections::BTreeMap;

use crds::api::{Expose, IssuerRef, TlsSpec, TradingBot};
use crds::contract::MANAGED_BY;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::DynamicObject;
use serde_json::json;

use super::super::bot::Owner;
use super::super::validate::Validated;
use crate::watch::ChildKind;

/// Builds the Certificate (`cert-manager.io/v1`), named after its Secret.
pub fn build(bot: &Validated, expose: &Expose, tls: &TlsSpec, issuer: &IssuerRef) -> DynamicObject {
    let mut owners: Vec<_> = bot.certificate_users.iter().collect();
    if !owners.contains(&&bot.owner) {
        owners.push(&bot.owner);
    }
    owners.sort_by(|a, b| a.uid.cmp(&b.uid));
    let resource = ChildKind::Certificate.resource();
    let mut certificate = DynamicObject::new(&tls.secret_name, &resource).data(json!({"spec": {
        "secretName": tls.secret_name,
        "dnsNames": [expose.host],
        "issuerRef": {"group": "cert-manager.io", "kind": issuer.kind.as_str(), "name": issuer.name},
        // A key that leaked is of use until the next renewal, not for ever.
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
    }}));
    certificate.metadata = ObjectMeta {
        name: Some(tls.secret_name.clone()),
        namespace: Some(bot.owner.namespace.clone()),
        // No label of one bot: it is no one bot's.
        labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned())])),
        owner_references: Some(owners.into_iter().map(reference).collect()),
        ..ObjectMeta::default()
    };
    certificate
}

/// A plain owner: an object has one controller at most, and these have no order.
fn reference(owner: &Owner) -> OwnerReference {
    OwnerReference {
        api_version: TradingBot::api_version(&()).into_owned(),
        kind: TradingBot::kind(&()).into_owned(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: None,
        block_owner_deletion: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::exposed;
    use super::*;

    fn certificate(users: Vec<Owner>) -> DynamicObject {
        let mut bot = exposed(json!({
            "host": "bots.example.com", "path": "/btc", "ingress": {},
            "tls": {"secretName": "bots-tls", "issuerRef": {"kind": "ClusterIssuer", "name": "letsencrypt"}}
        }));
        bot.certificate_users = users;
        let expose = bot.deployment.expose.clone().unwrap();
        let tls = expose.tls.clone().unwrap();
        build(&bot, &expose, &tls, tls.issuer_ref.as_ref().unwrap())
    }

    fn other() -> Owner {
        Owner { name: "other".into(), namespace: "trading".into(), uid: "00000000".into() }
    }

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(certificate(vec![other()]));
    }

    #[test]
    fn every_user_writes_the_same_list() {
        let own = exposed(json!({"host": "a.b", "ingress": {}})).owner;
        assert_eq!(certificate(vec![own, other()]), certificate(vec![other()]));
        assert_eq!(certificate(Vec::new()).metadata.owner_references.unwrap().len(), 1);
    }
}
