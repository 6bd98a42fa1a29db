//! The identity of the agent's pod.

use k8s_openapi::api::core::v1::{LocalObjectReference, ServiceAccount};

use super::super::validate::Validated;
use super::named_after;

/// Builds the ServiceAccount. Only the agent's pod asks for its token. The Secrets to pull with are here and not in
/// the pod template, so that other ones restart no agent: a pod gets them as it is made.
pub fn build(bot: &Validated) -> ServiceAccount {
    let secrets = bot.image_pull_secrets.iter();
    let secrets: Vec<_> = secrets.map(|name| LocalObjectReference { name: name.clone() }).collect();
    ServiceAccount {
        metadata: named_after(&bot.owner),
        automount_service_account_token: Some(false),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        ..ServiceAccount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;
    use super::super::deployment;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(super::build(&validated()));
    }

    #[test]
    fn secrets_to_pull_with_are_named_here_and_leave_the_deployment_as_it_was() {
        let mut bot = validated();
        bot.image_pull_secrets = ["registry".to_owned(), "mirror".to_owned()].into();
        let names = super::build(&bot).image_pull_secrets.unwrap_or_default();
        assert_eq!(
            names.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(),
            ["registry", "mirror"]
        );
        assert_eq!(deployment::build(&bot), deployment::build(&validated()));
    }
}
