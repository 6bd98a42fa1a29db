//! What an agent may do in the cluster: its own four objects and nothing else.

use crds::api::{GROUP, TradingBot};
use crds::contract::child_name;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::Resource;

use super::super::validate::Validated;
use super::named_after;

/// Builds the Role. The operator's own rights include each of these, else it could not grant them.
pub fn build(bot: &Validated) -> Role {
    let bots = TradingBot::plural(&()).into_owned();
    let child = child_name(&bot.owner.name);
    Role {
        metadata: named_after(&bot.owner),
        rules: Some(vec![
            rule(GROUP, &bots, &bot.owner.name, &["get"]),
            rule(GROUP, &format!("{bots}/status"), &bot.owner.name, &["patch"]),
            rule("", "configmaps", &child, &["get", "list", "watch"]),
            rule("coordination.k8s.io", "leases", &child, &["get", "update"]),
        ]),
    }
}

fn rule(group: &str, resource: &str, name: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(vec![name.to_owned()]),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(super::build(&validated()));
    }
}
