//! The gatekeeper: whether a verdict may become an order, and how large.
//!
//! Everything here is pure: `(verdict, account, market, limits) → plan or rejection`. The checks run in
//! the order of their numbers and the first *no* wins; between them come the stop and the size.

mod candidate;
mod checks;
mod exit;
mod gate;
mod plan;
mod rejection;
mod size;

pub use candidate::{Budget, Candidate, CostRates, Exposure, Limits, Operation};
pub use exit::assess_exit;
pub use gate::{Gate, RiskGate};
pub use plan::Plan;
pub use rejection::{Reason, Rejection};
