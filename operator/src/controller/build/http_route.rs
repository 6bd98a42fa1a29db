//! The way in through a Gateway.

use crds::api::{Expose, ParentRef};
use crds::contract::{AGENT_PORT, child_name};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::super::validate::Validated;
use super::named_after;
use crate::watch::ChildKind;

/// Builds the HTTPRoute (`gateway.networking.k8s.io/v1`).
pub fn build(bot: &Validated, expose: &Expose, parent: &ParentRef) -> DynamicObject {
    let ParentRef { name, namespace, section_name } = parent;
    let mut reference = json!({"name": name});
    let optional = [("namespace", namespace), ("sectionName", section_name)];
    if let Some(reference) = reference.as_object_mut() {
        for (key, value) in optional {
            reference.extend(value.clone().map(|value| (key.to_owned(), Value::String(value))));
        }
    }
    let mut route =
        DynamicObject::new(&bot.owner.name, &ChildKind::HttpRoute.resource()).data(json!({"spec": {
            "parentRefs": [reference],
            "hostnames": [expose.host],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": expose.path}}],
                "backendRefs": [{"name": child_name(&bot.owner.name), "port": AGENT_PORT}],
            }],
        }}));
    route.metadata = named_after(&bot.owner);
    route
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::exposed;
    use super::*;
    use crds::api::Route;

    fn built(parent: Value) -> DynamicObject {
        let bot = exposed(json!({
            "host": "bots.example.com", "path": "/btc", "gateway": {"parentRef": parent}
        }));
        let expose = bot.deployment.expose.clone().unwrap();
        let Route::Gateway(parent) = &expose.route else { panic!("{expose:?}") };
        build(&bot, &expose, parent)
    }

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(built(
            json!({"name": "web", "namespace": "edge", "sectionName": "https"})
        ));
    }

    #[test]
    fn a_gateway_of_the_bots_own_namespace_is_named_alone() {
        assert_eq!(built(json!({"name": "web"})).data["spec"]["parentRefs"], json!([{"name": "web"}]));
    }
}
