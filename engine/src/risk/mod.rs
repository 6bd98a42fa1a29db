//! The gatekeeper: whether a verdict may become an order, and how large.
//!
//! Everything here is pure: `(verdict, account, market, limits) → plan or rejection`. The checks run in
//! the order of their numbers, all of them, and the first *no* wins; between them come the stop and the size.

mod assessment;
mod candidate;
mod checks;
mod exit;
mod gate;
mod plan;
mod rejection;
mod size;

pub use assessment::{Asked, Assessment, CheckResult, Hearing};
pub use candidate::{Budget, Candidate, CostRates, Exposure, Limits, Operation};
pub use exit::{Exit, assess_exit};
pub use gate::{Gate, RiskGate};
pub use plan::Plan;
pub use rejection::{Reason, Rejection};
