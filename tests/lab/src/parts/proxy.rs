//! Makes service addresses answer, with nftables rules in the lab's network namespace.

use serde_json::json;

use super::{Part, configuration, pki};
use crate::plan::Plan;
use crate::{Error, NODE_NAME};

pub(crate) fn part(plan: &Plan) -> Result<Part, Error> {
    let config = plan.file("kube-proxy.json");
    configuration(
        &config,
        &json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "bindAddress": plan.address(),
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clusterCIDR": plan.pod_range(),
            "hostnameOverride": NODE_NAME,
            "clientConnection": {"kubeconfig": pki(plan, "proxy.kubeconfig")},
            // These limits belong to the whole machine: leave them.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }),
    )?;
    Part::new("kube-proxy", vec![("config", config.display().to_string())])
}
