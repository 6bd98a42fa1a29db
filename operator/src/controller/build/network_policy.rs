//! Whom the agent may reach, and who may reach it.

use std::str::FromStr;

use crds::contract::AGENT_PORT;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

use super::super::validate::Validated;
use super::{named_after, selector};

/// Cloud providers serve the credentials of a node there.
const LINK_LOCAL: [(&str, &str); 2] = [("0.0.0.0/0", "169.254.0.0/16"), ("::/0", "fe80::/10")];
const DNS: u16 = 53;
const HTTPS: u16 = 443;

/// What the network policies of all bots have in common: the chart's `networkPolicy`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicyOptions {
    /// Whether bots have one.
    pub enabled: bool,
    /// The API server as agents reach it.
    pub api_server: ApiServer,
    /// Networks of link-local DNS servers; others are reached anyway.
    pub dns: Vec<String>,
    /// Ports that agents reach anywhere, beside 443.
    pub egress_ports: Vec<u16>,
    /// Who may reach an agent's API.
    pub ingress_from: Vec<NetworkPolicyPeer>,
}

/// Where agents reach the API server, behind its Service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiServer {
    /// Its network; empty for anywhere.
    pub cidr: String,
    /// Its port.
    pub port: u16,
}

/// Options that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("networkPolicy.{field}: {message}")]
pub struct NetworkPolicyOptionsError {
    field: String,
    message: String,
}

impl Default for NetworkPolicyOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            api_server: ApiServer::default(),
            dns: Vec::new(),
            egress_ports: vec![5432, 11434],
            ingress_from: vec![any_pod()],
        }
    }
}

impl Default for ApiServer {
    fn default() -> Self {
        Self { cidr: String::new(), port: 6443 }
    }
}

impl FromStr for NetworkPolicyOptions {
    type Err = NetworkPolicyOptionsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut json = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut json).map_err(|error| NetworkPolicyOptionsError {
            field: error.path().to_string(),
            message: error.into_inner().to_string(),
        })
    }
}

/// Builds the NetworkPolicy, unless the installation wants none.
pub fn build(bot: &Validated) -> Option<NetworkPolicy> {
    let NetworkPolicyOptions { enabled, api_server, dns, egress_ports, ingress_from } =
        bot.network_policy.as_ref();
    if !enabled {
        return None;
    }
    let mut egress = vec![
        to(anywhere(), vec![port("UDP", DNS), port("TCP", DNS)]),
        to(
            anywhere(),
            std::iter::once(&HTTPS).chain(egress_ports).map(|number| port("TCP", *number)).collect(),
        ),
        to(
            if api_server.cidr.is_empty() { anywhere() } else { vec![block(&api_server.cidr, None)] },
            vec![port("TCP", api_server.port)],
        ),
    ];
    if !dns.is_empty() {
        let servers = dns.iter().map(|cidr| block(cidr, None)).collect();
        egress.push(to(servers, vec![port("UDP", DNS), port("TCP", DNS)]));
    }
    let ingress = NetworkPolicyIngressRule {
        from: Some(ingress_from.clone()),
        ports: Some(vec![port("TCP", AGENT_PORT)]),
    };
    Some(NetworkPolicy {
        metadata: named_after(&bot.owner),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selector(&bot.owner)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            // Nobody named is nobody; a rule without `from` would be everybody.
            ingress: (!ingress_from.is_empty()).then(|| vec![ingress]),
            egress: Some(egress),
        }),
    })
}

/// Everything but link-local addresses. Pods are named besides: some networks know them by their labels and
/// never as part of a block.
fn anywhere() -> Vec<NetworkPolicyPeer> {
    let mut peers: Vec<_> = LINK_LOCAL.iter().map(|(all, except)| block(all, Some(except))).collect();
    peers.push(any_pod());
    peers
}

fn any_pod() -> NetworkPolicyPeer {
    NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() }
}

fn block(cidr: &str, except: Option<&str>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: except.map(|except| vec![except.to_owned()]),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn to(peers: Vec<NetworkPolicyPeer>, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(peers), ports: Some(ports) }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}

#[cfg(test)]
mod flows;

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(build(&validated()).unwrap());
    }

    #[test]
    fn what_the_chart_says_is_read_and_a_mistake_is_named() {
        assert_eq!("{}".parse::<NetworkPolicyOptions>().unwrap(), NetworkPolicyOptions::default());
        let options: NetworkPolicyOptions =
            r#"{"apiServer": {"cidr": "10.0.0.0/24"}, "egressPorts": [], "ingressFrom": [{"podSelector": {}}]}"#
                .parse()
                .unwrap();
        assert_eq!(options.api_server, ApiServer { cidr: "10.0.0.0/24".into(), port: 6443 });
        assert_eq!(options.egress_ports, Vec::<u16>::new());
        for (text, part) in [
            (r#"{"apiServer": {"port": 70000}}"#, "networkPolicy.apiServer.port"),
            (r#"{"egressPort": [1]}"#, "egressPort"),
        ] {
            let message = text.parse::<NetworkPolicyOptions>().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn an_installation_without_network_policies_has_none() {
        let mut bot = validated();
        bot.network_policy = Arc::new(r#"{"enabled": false}"#.parse().unwrap());
        assert_eq!(build(&bot), None);
    }
}
