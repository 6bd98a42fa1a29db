//! The container runtime of the node.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{Part, configuration, folder};
use crate::plan::Plan;
use crate::{Error, PAUSE_IMAGE, tools};

/// Where the runtime is spoken to.
pub(crate) fn socket(plan: &Plan) -> PathBuf {
    plan.file("containerd.sock")
}

pub(crate) fn part(plan: &Plan) -> Result<Part, Error> {
    folder(&plan.file("cni"))?;
    configuration(&plan.file("cni/10-lab.conflist"), &network(plan))?;
    let config = plan.file("containerd.toml");
    fs::write(&config, text(plan)).map_err(Error::file("write", &config))?;
    let mut part = Part::new("containerd", vec![("config", config.display().to_string())])?;
    // containerd looks for the shim on PATH.
    let shim = tools::path("containerd-shim-runc-v2")?;
    let mut path = shim.parent().map(|folder| folder.as_os_str().to_owned()).unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    part.command.env("PATH", path);
    Ok(part)
}

/// One veth pair per pod, routed: unlike on a bridge, an answer between two pods behind a service passes the node, where
/// the service's address is put back. No masquerade, for the host has a route to the pods.
fn network(plan: &Plan) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "lab",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": plan.file("cni-addresses"),
                "ranges": [[{"subnet": plan.pod_range()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

fn text(plan: &Plan) -> String {
    let root = plan.file("containerd");
    let folder = root.display();
    let socket = socket(plan);
    let socket = socket.display();
    let cni = plan.file("cni");
    let cni = cni.display();
    // Without `restrict_oom_score_adj` runc fails where the host itself lacks CAP_SYS_RESOURCE.
    format!(
        r#"version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
    "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs",
    "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
]

[grpc]
address = "{socket}"

[ttrpc]
address = "{socket}.ttrpc"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{cni}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"
"#
    )
}
