//! Runs the pods of the node.

use serde_json::json;

use super::{Part, configuration, containerd, folder, pki};
use crate::plan::Plan;
use crate::{Error, NODE_NAME};

pub(crate) fn part(plan: &Plan) -> Result<Part, Error> {
    folder(&plan.file("kubelet"))?;
    // The lab has no DNS; without a file of its own the kubelet would give pods that of the host.
    let resolver = plan.file("resolv.conf");
    std::fs::write(&resolver, "options timeout:1 attempts:1\n").map_err(Error::file("write", &resolver))?;
    let config = plan.file("kubelet.json");
    configuration(
        &config,
        &json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "0.0.0.0",
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": pki(plan, "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": pki(plan, "kubelet-server.crt"),
            "tlsPrivateKeyFile": pki(plan, "kubelet-server.key"),
            "containerRuntimeEndpoint": format!("unix://{}", containerd::socket(plan).display()),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", plan.cgroup()),
            "enforceNodeAllocatable": [],
            "failCgroupV1": false,
            "failSwapOn": false,
            "volumePluginDir": plan.file("kubelet/plugins-of-others"),
            "resolvConf": resolver,
            // An address nothing answers at, or each pod gets a warning event about the missing one.
            "clusterDNS": [plan.service_address(10)],
            "clusterDomain": "cluster.local",
            // A test that kills a container need not wait for minutes.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
            // Secrets and ConfigMaps reach their pods as soon as they change.
            "configMapAndSecretChangeDetectionStrategy": "Watch",
            "syncFrequency": "5s",
            // The disk is the machine's: the lab shall neither evict pods nor remove images for its sake.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "maxPods": 200,
            "serializeImagePulls": false,
        }),
    )?;
    Part::new(
        "kubelet",
        vec![
            ("config", config.display().to_string()),
            ("kubeconfig", pki(plan, "kubelet.kubeconfig")),
            ("root-dir", plan.file("kubelet").display().to_string()),
            ("hostname-override", NODE_NAME.into()),
            ("node-ip", plan.address().to_string()),
        ],
    )
}
