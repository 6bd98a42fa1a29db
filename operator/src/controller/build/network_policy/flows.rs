//! The rendered policy against a table of flows, by the semantics of NetworkPolicy: a pod that a policy selects
//! allows what any of its rules allows; a rule allows what one of its peers and one of its ports matches.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::super::validate::tests::validated;
use super::build;

type Labels = BTreeMap<String, String>;

/// The other end of a flow.
enum End {
    /// Outside of the cluster, or a node.
    Address(IpAddr),
    /// A pod: its labels, and its namespace with its labels.
    Pod { address: IpAddr, labels: Labels, namespace: &'static str, namespace_labels: Labels },
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn address(text: &str) -> End {
    End::Address(text.parse().unwrap())
}

fn pod(namespace: &'static str, own: &[(&str, &str)]) -> End {
    End::Pod {
        address: "10.244.0.9".parse().unwrap(),
        labels: labels(own),
        namespace,
        namespace_labels: labels(&[("kubernetes.io/metadata.name", namespace)]),
    }
}

fn within(cidr: &str, address: IpAddr) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let (bits, network, length): (u32, IpAddr, u32) =
        (if address.is_ipv4() { 32 } else { 128 }, network.parse().unwrap(), length.parse().unwrap());
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    network.is_ipv4() == address.is_ipv4()
        && number(network).checked_shr(bits - length).unwrap_or(0)
            == number(address).checked_shr(bits - length).unwrap_or(0)
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    assert!(selector.match_expressions.is_none(), "the evaluator knows matchLabels only");
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn peer_matches(peer: &NetworkPolicyPeer, end: &End, own_namespace: &str) -> bool {
    let NetworkPolicyPeer { ip_block, namespace_selector, pod_selector } = peer;
    if let Some(IPBlock { cidr, except }) = ip_block {
        let (End::Address(ip) | End::Pod { address: ip, .. }) = end;
        return within(cidr, *ip) && !except.iter().flatten().any(|except| within(except, *ip));
    }
    let End::Pod { labels, namespace, namespace_labels, .. } = end else { return false };
    let in_namespace = match namespace_selector {
        Some(selector) => selects(selector, namespace_labels),
        None => *namespace == own_namespace,
    };
    in_namespace && pod_selector.as_ref().is_none_or(|selector| selects(selector, labels))
}

fn port_matches(wanted: &NetworkPolicyPort, protocol: &str, port: u16) -> bool {
    let number = match &wanted.port {
        Some(IntOrString::Int(number)) => *number == i32::from(port),
        Some(IntOrString::String(name)) => panic!("the evaluator knows no port names: {name}"),
        None => true,
    };
    number && wanted.protocol.as_deref().unwrap_or("TCP") == protocol
}

fn rule_allows(
    peers: Option<&Vec<NetworkPolicyPeer>>,
    ports: Option<&Vec<NetworkPolicyPort>>,
    end: &End,
    (protocol, port): (&str, u16),
    namespace: &str,
) -> bool {
    // A list that is absent or empty restricts nothing.
    let any = |list: Option<usize>| list.unwrap_or(0) == 0;
    let peer =
        any(peers.map(Vec::len)) || peers.unwrap().iter().any(|peer| peer_matches(peer, end, namespace));
    let port =
        any(ports.map(Vec::len)) || ports.unwrap().iter().any(|wanted| port_matches(wanted, protocol, port));
    peer && port
}

fn allows(policy: &NetworkPolicy, egress: bool, end: &End, port: (&str, u16)) -> bool {
    let (spec, namespace) = (policy.spec.as_ref().unwrap(), policy.metadata.namespace.as_deref().unwrap());
    let direction = if egress { "Egress" } else { "Ingress" };
    if !spec.policy_types.iter().flatten().any(|type_| type_ == direction) {
        return true;
    }
    if egress {
        let mut rules = spec.egress.iter().flatten();
        rules.any(|rule| rule_allows(rule.to.as_ref(), rule.ports.as_ref(), end, port, namespace))
    } else {
        let mut rules = spec.ingress.iter().flatten();
        rules.any(|rule| rule_allows(rule.from.as_ref(), rule.ports.as_ref(), end, port, namespace))
    }
}

fn policy(options: &str) -> NetworkPolicy {
    let mut bot = validated();
    bot.network_policy = Arc::new(options.parse().unwrap());
    build(&bot).unwrap()
}

#[test]
fn the_policy_is_about_the_pods_of_its_bot_alone() {
    let bot = validated();
    let policy = policy("{}");
    let selector = policy.spec.as_ref().unwrap().pod_selector.as_ref().unwrap();
    let template = super::super::deployment::build(&bot).spec.unwrap().template.metadata.unwrap();
    assert!(selects(selector, template.labels.as_ref().unwrap()));
    let mut other = bot;
    other.owner.name = "other".into();
    let template = super::super::deployment::build(&other).spec.unwrap().template.metadata.unwrap();
    assert!(!selects(selector, template.labels.as_ref().unwrap()));
}

#[test]
fn an_agent_reaches_what_it_needs_and_nothing_else() {
    let dns = || pod("kube-system", &[("k8s-app", "kube-dns")]);
    let database = || pod("databases", &[("app", "postgres")]);
    let table = [
        ("DNS by UDP", dns(), ("UDP", 53), true),
        ("DNS by TCP", dns(), ("TCP", 53), true),
        ("a DNS server outside", address("192.0.2.53"), ("UDP", 53), true),
        ("DNS over IPv6", address("2001:db8::53"), ("UDP", 53), true),
        ("the API server behind its Service", address("10.0.0.10"), ("TCP", 6443), true),
        ("the API server at 443", address("10.96.0.1"), ("TCP", 443), true),
        ("a venue", address("203.0.113.7"), ("TCP", 443), true),
        ("a venue over IPv6", address("2001:db8::7"), ("TCP", 443), true),
        ("a database in the cluster", database(), ("TCP", 5432), true),
        ("a database outside", address("198.51.100.3"), ("TCP", 5432), true),
        ("a model in the cluster", pod("models", &[]), ("TCP", 11434), true),
        ("metadata of the cloud", address("169.254.169.254"), ("TCP", 80), false),
        ("the same at 443", address("169.254.169.254"), ("TCP", 443), false),
        ("its DNS", address("169.254.169.254"), ("UDP", 53), false),
        ("the last link-local address", address("169.254.255.255"), ("TCP", 443), false),
        ("the address before the first", address("169.253.255.255"), ("TCP", 443), true),
        ("link-local over IPv6", address("fe80::1"), ("TCP", 443), false),
        ("the end of that block", address("febf::1"), ("TCP", 443), false),
        ("the address after it", address("fec0::1"), ("TCP", 443), true),
        ("plain HTTP", address("203.0.113.7"), ("TCP", 80), false),
        ("QUIC", address("203.0.113.7"), ("UDP", 443), false),
        ("SSH", address("10.0.0.10"), ("TCP", 22), false),
        ("mail", address("203.0.113.25"), ("TCP", 25), false),
        ("a kubelet", address("10.0.0.10"), ("TCP", 10250), false),
        ("etcd", address("10.0.0.10"), ("TCP", 2379), false),
        ("another agent", pod("trading", &[]), ("TCP", 8000), false),
        ("SCTP", dns(), ("SCTP", 53), false),
    ];
    let policy = policy("{}");
    for (what, end, port, allowed) in table {
        assert_eq!(allows(&policy, true, &end, port), allowed, "{what}");
    }
}

#[test]
fn what_the_chart_says_narrows_and_widens() {
    let narrow = policy(
        r#"{"apiServer": {"cidr": "10.0.0.0/28", "port": 16443}, "egressPorts": [8443], "dns": ["169.254.20.10/32"]}"#,
    );
    for (what, end, port, allowed) in [
        ("the API server", address("10.0.0.10"), ("TCP", 16443), true),
        ("its port elsewhere", address("10.0.0.16"), ("TCP", 16443), false),
        ("the port of the default", address("10.0.0.10"), ("TCP", 6443), false),
        ("a port of the chart", address("203.0.113.7"), ("TCP", 8443), true),
        ("one that it left out", address("203.0.113.7"), ("TCP", 5432), false),
        ("the node's DNS cache", address("169.254.20.10"), ("UDP", 53), true),
        ("its neighbour", address("169.254.20.11"), ("UDP", 53), false),
        ("another port of the node", address("169.254.20.10"), ("TCP", 443), false),
    ] {
        assert_eq!(allows(&narrow, true, &end, port), allowed, "{what}");
    }
}

#[test]
fn the_api_of_an_agent_is_reached_by_those_whom_the_chart_names() {
    let nginx = || pod("ingress-nginx", &[("app", "nginx")]);
    let neighbour = || pod("trading", &[("app", "shell")]);
    let only = r#"{"ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}},
                  "podSelector": {"matchLabels": {"app": "nginx"}}}]}"#;
    for (what, options, end, port, allowed) in [
        ("any pod", "{}", nginx(), 8000, true),
        ("a neighbour", "{}", neighbour(), 8000, true),
        ("another port", "{}", neighbour(), 8001, false),
        ("outside", "{}", address("203.0.113.7"), 8000, false),
        ("the one that is named", only, nginx(), 8000, true),
        ("its neighbour", only, pod("ingress-nginx", &[("app", "other")]), 8000, false),
        ("its namesake elsewhere", only, pod("trading", &[("app", "nginx")]), 8000, false),
        ("the own namespace", r#"{"ingressFrom": [{"podSelector": {}}]}"#, neighbour(), 8000, true),
        ("not another", r#"{"ingressFrom": [{"podSelector": {}}]}"#, nginx(), 8000, false),
        ("nobody", r#"{"ingressFrom": []}"#, neighbour(), 8000, false),
    ] {
        assert_eq!(allows(&policy(options), false, &end, ("TCP", port)), allowed, "{what}");
    }
}
