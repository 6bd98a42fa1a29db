//! The way in through an Ingress.

use std::collections::BTreeMap;

use crds::api::{Expose, IngressSpec};
use crds::contract::{AGENT_PORT, child_name};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec as Spec, IngressTLS, ServiceBackendPort,
};

use super::super::validate::Validated;
use super::{named_after, redirect};

/// Builds the Ingress.
pub fn build(bot: &Validated, expose: &Expose, ingress: &IngressSpec) -> Ingress {
    let IngressSpec { class_name, annotations } = ingress;
    let mut all = BTreeMap::new();
    if expose.tls.is_some() {
        all.extend(
            redirect::annotations(class_name.as_deref())
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
    }
    // Whoever sets one of ours knows their controller better.
    all.extend(annotations.clone().unwrap_or_default());
    let mut metadata = named_after(&bot.owner);
    metadata.annotations = Some(all).filter(|all| !all.is_empty());
    Ingress {
        metadata,
        spec: Some(Spec {
            ingress_class_name: class_name.clone(),
            tls: expose.tls.as_ref().map(|tls| {
                vec![IngressTLS {
                    hosts: Some(vec![expose.host.clone()]),
                    secret_name: Some(tls.secret_name.clone()),
                }]
            }),
            rules: Some(vec![IngressRule {
                host: Some(expose.host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some(expose.path.clone()),
                        path_type: "Prefix".into(),
                        backend: IngressBackend {
                            service: Some(IngressServiceBackend {
                                name: child_name(&bot.owner.name),
                                port: Some(ServiceBackendPort {
                                    number: Some(i32::from(AGENT_PORT)),
                                    ..ServiceBackendPort::default()
                                }),
                            }),
                            ..IngressBackend::default()
                        },
                    }],
                }),
            }]),
            ..Spec::default()
        }),
        ..Ingress::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::exposed;
    use super::*;
    use crds::api::Route;
    use serde_json::json;

    fn built(expose: serde_json::Value) -> Ingress {
        let bot = exposed(expose);
        let expose = bot.deployment.expose.clone().unwrap();
        let Route::Ingress(ingress) = &expose.route else { panic!("{expose:?}") };
        build(&bot, &expose, ingress)
    }

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(built(json!({
            "host": "bots.example.com", "path": "/btc",
            "ingress": {"className": "nginx", "annotations": {"nginx.ingress.kubernetes.io/limit-rps": "20"}},
            "tls": {"secretName": "bots-tls", "issuerRef": {"kind": "ClusterIssuer", "name": "letsencrypt"}}
        })));
    }

    #[test]
    fn golden_plain() {
        insta::assert_yaml_snapshot!(built(json!({"host": "bots.example.com", "ingress": {}})));
    }

    #[test]
    fn a_known_class_is_told_to_leave_plain_http_and_the_user_has_the_last_word() {
        let annotations = |class: &str, own: serde_json::Value, tls: bool| {
            let mut expose = json!({"host": "a.b", "ingress": {"className": class, "annotations": own}});
            if tls {
                expose["tls"] = json!({"secretName": "s"});
            }
            built(expose).metadata.annotations.unwrap_or_default()
        };
        for class in ["nginx", "traefik", "haproxy"] {
            assert_eq!(annotations(class, json!({}), true).len(), 2, "{class}");
            assert!(annotations(class, json!({}), false).is_empty(), "{class} without a certificate");
        }
        assert!(annotations("nginx-internal", json!({}), true).is_empty());
        let key = "nginx.ingress.kubernetes.io/ssl-redirect";
        assert_eq!(annotations("nginx", json!({key: "false"}), true)[key], "false");
    }
}
