//! The identity of the agent's pod.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::super::validate::Validated;
use super::named_after;

/// Builds the ServiceAccount. Only the agent's pod asks for its token.
pub fn build(bot: &Validated) -> ServiceAccount {
    ServiceAccount {
        metadata: named_after(&bot.owner),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
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
