//! Gives the agent's ServiceAccount its Role.

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};

use super::super::validate::Validated;
use super::named_after;

/// Builds the RoleBinding.
pub fn build(bot: &Validated) -> RoleBinding {
    let name = crds::contract::child_name(&bot.owner.name);
    RoleBinding {
        metadata: named_after(&bot.owner),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "Role".into(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name,
            namespace: Some(bot.owner.namespace.clone()),
            api_group: None,
        }]),
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
