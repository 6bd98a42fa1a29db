//! The agent in a pod: its Lease, its configuration, its share of the status.

pub mod certificate;
pub mod config;
pub mod environment;
#[cfg(test)]
mod fake;
pub mod fence;
pub mod lease;
pub mod renewal;
pub mod share;
pub mod status;

pub use environment::Environment;
