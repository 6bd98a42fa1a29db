//! The cluster's store.

use super::Part;
use crate::Error;
use crate::plan::Plan;

/// The data are thrown away with the lab, so they need not reach the disk.
pub(crate) fn part(plan: &Plan) -> Result<Part, Error> {
    let ports = plan.ports();
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
    Part::new(
        "etcd",
        vec![
            ("name", "lab".into()),
            ("data-dir", plan.file("etcd").display().to_string()),
            ("unsafe-no-fsync", "true".into()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("lab={peer}")),
            ("log-level", "warn".into()),
        ],
    )
}
