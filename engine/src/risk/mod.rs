//! The gatekeeper.

mod plan;
mod rejection;

pub use plan::Plan;
pub use rejection::{Reason, Rejection};

/// Says whether a verdict may become an order.
pub trait Gate {}

/// The built-in gatekeeper.
#[derive(Clone, Debug, Default)]
pub struct RiskGate;

impl Gate for RiskGate {}
