//! Assigns pods to the node.

use super::{Part, pki};
use crate::Error;
use crate::plan::Plan;

pub(crate) fn part(plan: &Plan) -> Result<Part, Error> {
    Part::new(
        "kube-scheduler",
        vec![
            ("kubeconfig", pki(plan, "scheduler.kubeconfig")),
            ("authentication-kubeconfig", pki(plan, "scheduler.kubeconfig")),
            ("authorization-kubeconfig", pki(plan, "scheduler.kubeconfig")),
            ("bind-address", "127.0.0.1".into()),
            ("secure-port", plan.ports().scheduler.to_string()),
            ("cert-dir", plan.file("pki/scheduler").display().to_string()),
            ("leader-elect", "false".into()),
            ("profiling", "false".into()),
        ],
    )
}
