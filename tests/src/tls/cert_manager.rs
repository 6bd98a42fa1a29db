//! cert-manager outside the cluster.

use std::path::PathBuf;

use crate::cluster::Cluster;
use crate::process::{Server, ending_with_this_thread};
use crate::{repository, wait};

const SOLVER_IMAGE: &str = "localhost/acmesolver:test";

/// The folder of cert-manager's CRDs.
pub fn crds() -> PathBuf {
    let module = lab::tools::module("cert-manager", "github.com/cert-manager/cert-manager");
    module.expect("cert-manager's files").join("deploy/crds")
}

/// The folder of the Gateway API's CRDs of the standard channel.
pub fn gateway_api_crds() -> PathBuf {
    let module = lab::tools::module("cert-manager", "sigs.k8s.io/gateway-api");
    module.expect("the Gateway API's files").join("config/crd/standard")
}

/// cert-manager, running against a cluster with a node; ended when dropped.
pub struct CertManager {
    server: Server,
}

impl CertManager {
    /// Installs the CRDs and the solver's image, and starts the controllers.
    ///
    /// `proxy` is where the port 80 of every host is: there the controllers check that a challenge is answered before
    /// they ask the ACME server to. A failed issue is repeated after 2 s, then 4 s, instead of hours.
    pub fn start(cluster: &Cluster, proxy: u16) -> Self {
        let folder = cluster.folder("tls");
        cluster.load_image(&lab::image::Build {
            tag: SOLVER_IMAGE.into(),
            target: "acmesolver".into(),
            dockerfile: repository("tests/lab/images/acmesolver/Dockerfile"),
            binary: lab::tools::path("acmesolver").expect("acmesolver"),
        });
        install_crds(cluster);
        let mut command = ending_with_this_thread(lab::tools::path("cert-manager").expect("cert-manager"));
        command
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args(["--acme-http01-solver-image", SOLVER_IMAGE]);
        command.args(["--dns01-check-retry-period", "1s"]);
        command.args(["--certificate-request-minimum-backoff-duration", "2s"]);
        command.args(["--certificate-request-maximum-backoff-duration", "4s"]);
        command.env("HTTP_PROXY", format!("http://127.0.0.1:{proxy}"));
        Self { server: Server::start(command, &folder.join("cert-manager.log")) }
    }

    /// Says whether it runs; fails with the end of its log otherwise.
    pub fn check(&mut self) -> Result<(), String> {
        self.server.check()
    }
}

/// Installs cert-manager's CRDs and waits until they are served.
pub fn install_crds(cluster: &Cluster) {
    cluster.run(&["apply", "--server-side", "-f", crds().to_str().expect("a path in UTF-8")]);
    wait::until("cert-manager's kinds are served", || {
        let kinds = "challenges.acme.cert-manager.io,clusterissuers,certificates";
        let output = cluster.kubectl(&["get", kinds, "-A"]).output().expect("kubectl runs");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    });
}
