//! What the supervisor tells those who wait for the lab, through `status.json` in its folder.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::plan::{self, Plan};

/// How far a lab has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// `/readyz` is ok and the default ServiceAccount exists.
    pub control_plane_ready: bool,
    /// The node is Ready and the volumes exist.
    pub node_ready: bool,
    /// Why the lab stopped, if it did.
    pub failure: Option<Failure>,
}

/// One step of the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What was reached.
    pub name: String,
    /// Seconds since the supervisor, or the addition of a node, began.
    pub seconds: f64,
}

/// Why a lab stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The part at fault; its log tells more.
    pub part: String,
    /// What happened.
    pub what: String,
}

impl Status {
    /// The status of a lab; the default one before the supervisor has written any.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn read(plan: &Plan) -> Result<Self, Error> {
        Ok(plan::read_json(&plan.file("status.json"))?.unwrap_or_default())
    }

    pub(crate) fn write(&self, plan: &Plan) -> Result<(), Error> {
        plan::write_json(&plan.file("status.json"), self)
    }
}
