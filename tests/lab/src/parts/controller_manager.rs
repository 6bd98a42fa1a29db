//! The controllers of Kubernetes itself: Deployments, garbage collection, ServiceAccounts.

use super::{Part, pki};
use crate::Error;
use crate::plan::Plan;

pub(crate) fn part(plan: &Plan) -> Result<Part, Error> {
    Part::new(
        "kube-controller-manager",
        vec![
            ("kubeconfig", pki(plan, "controller-manager.kubeconfig")),
            ("authentication-kubeconfig", pki(plan, "controller-manager.kubeconfig")),
            ("authorization-kubeconfig", pki(plan, "controller-manager.kubeconfig")),
            ("bind-address", "127.0.0.1".into()),
            ("secure-port", plan.ports().controller_manager.to_string()),
            ("cert-dir", plan.file("pki/controller-manager").display().to_string()),
            ("flex-volume-plugin-dir", plan.file("kubelet/plugins-of-others").display().to_string()),
            ("controllers", "*".into()),
            ("use-service-account-credentials", "true".into()),
            ("service-account-private-key-file", pki(plan, "service-account.key")),
            ("root-ca-file", pki(plan, "ca.crt")),
            ("cluster-signing-cert-file", pki(plan, "ca.crt")),
            ("cluster-signing-key-file", pki(plan, "ca.key")),
            // With the usual 20 requests a second its own start, one ServiceAccount per controller, takes five.
            ("kube-api-qps", "500".into()),
            ("kube-api-burst", "1000".into()),
            ("leader-elect", "false".into()),
            ("profiling", "false".into()),
        ],
    )
}
