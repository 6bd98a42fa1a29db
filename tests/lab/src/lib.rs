//! A real Kubernetes cluster from Go modules, for the demo and the system tests.
//!
//! [`Lab::up`] starts one and leaves it running; [`Lab::control_plane`] and [`Lab::node`] are fixtures that end with the
//! test process, however it ends. See the README beside this package for how the parts fit together.

#![warn(missing_docs)]

pub mod image;
pub mod packages;
pub mod plan;
pub mod postgres;
pub mod status;
pub mod supervisor;
pub mod tools;

mod base;
mod cgroup;
mod cluster;
mod command;
mod error;
mod fixture;
mod lab;
mod log;
mod parts;
mod pki;
mod sandbox;
mod teardown;

pub use error::Error;
pub use fixture::end_with_input;
pub use lab::{Lab, Options};

/// The name of the node in its cluster.
pub const NODE_NAME: &str = "node";

/// Debian's static busybox and nothing else: the pause container of every pod, and handy for tests. It does not have to
/// be pulled.
pub const BUSYBOX_IMAGE: &str = "localhost/tradingbot-lab/busybox:1";

pub(crate) const PAUSE_IMAGE: &str = BUSYBOX_IMAGE;
