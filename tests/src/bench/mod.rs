//! `make bench-operator`: what our operator costs beside a peer on controller-runtime, on a cluster that has etcd, an
//! API server and nothing else.
//!
//! Each run is one contender with one number of bots on a fresh cluster; the contenders take turns. A
//! [`Faker`](crate::faker::Faker) plays agents and controllers. The operator's calls are counted in the API server's audit
//! log by its user, so that neither the faker's nor the driver's are among them.

mod calls;
mod contender;
mod drive;
mod machine;
mod observer;
mod process;
mod report;
mod run;
mod samples;

pub use calls::Calls;
pub use contender::Contender;
pub use machine::Machine;
pub use report::{Report, write_docs};
pub use run::{Failover, Load, Run, run};
pub use samples::Samples;
