//! The API server.

use serde_json::json;

use super::{Part, configuration, pki};
use crate::Error;
use crate::plan::{Place, Plan};

pub(crate) fn part(plan: &Plan) -> Result<Part, Error> {
    let ports = plan.ports();
    let policy = plan.file("audit-policy.json");
    configuration(&policy, &audit_policy())?;
    let mut flags = vec![
        ("etcd-servers", format!("http://127.0.0.1:{}", ports.etcd)),
        ("secure-port", ports.apiserver.to_string()),
        ("cert-dir", plan.file("pki").display().to_string()),
        ("tls-cert-file", pki(plan, "apiserver.crt")),
        ("tls-private-key-file", pki(plan, "apiserver.key")),
        ("client-ca-file", pki(plan, "ca.crt")),
        ("authorization-mode", "Node,RBAC".into()),
        ("enable-admission-plugins", "NodeRestriction".into()),
        ("allow-privileged", "true".into()),
        ("service-cluster-ip-range", plan.service_range()),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-account-key-file", pki(plan, "service-account.pub")),
        ("service-account-signing-key-file", pki(plan, "service-account.key")),
        ("kubelet-certificate-authority", pki(plan, "ca.crt")),
        ("kubelet-client-certificate", pki(plan, "kubelet-client.crt")),
        ("kubelet-client-key", pki(plan, "kubelet-client.key")),
        // Without it `kubectl exec` and `logs` ask for the node by name, which nothing resolves.
        ("kubelet-preferred-address-types", "InternalIP".into()),
        ("profiling", "false".into()),
        ("audit-policy-file", policy.display().to_string()),
        ("audit-log-path", plan.audit_log().display().to_string()),
        // In MB. A test that reads the log wants all of it; a lab that runs for days keeps two such files.
        ("audit-log-maxsize", "1000".into()),
        ("audit-log-maxbackup", "1".into()),
    ];
    match plan.place {
        Place::Namespace => {
            flags.push(("bind-address", "0.0.0.0".into()));
            flags.push(("advertise-address", plan.address().to_string()));
        }
        Place::Loopback(_) => {
            flags.push(("bind-address", "127.0.0.1".into()));
            flags.push(("advertise-address", "127.0.0.1".into()));
            // A loopback address is not allowed in the endpoints of `kubernetes.default`, and no pod asks for them.
            flags.push(("endpoint-reconciler-type", "none".into()));
        }
    }
    Part::new("kube-apiserver", flags)
}

/// Who called what, without bodies, once a call is answered (a watch: once it begins, and when it ends). Probes
/// are left out.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*"]},
            {"level": "Metadata"},
        ],
    })
}
