//! The address of the agent's API.

use crds::contract::AGENT_PORT;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::validate::Validated;
use super::{named_after, selector};

/// Builds the Service.
pub fn build(bot: &Validated) -> Service {
    Service {
        metadata: named_after(&bot.owner),
        spec: Some(ServiceSpec {
            selector: Some(selector(&bot.owner)),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                protocol: Some("TCP".into()),
                port: i32::from(AGENT_PORT),
                target_port: Some(IntOrString::String("http".into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
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
