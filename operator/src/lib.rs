//! The operator: turns TradingBots into running agents and says in their status how that goes.
//!
//! [`watch`] knows the cluster, [`controller`] decides and writes, [`run()`] ties them together.
#![warn(missing_docs)]

pub mod controller;
pub mod leader;
pub mod logging;
mod metrics;
mod patience;
mod reason;
mod run;
mod server;
pub mod watch;

pub use metrics::Metrics;
pub use reason::Reason;
pub use run::{Options, run};
