//! A bad day of the API server, made to order: a [`Proxy`] that faults a share of the requests of whoever uses its
//! kubeconfig. The test itself asks the server directly, so that what it sees is true.

mod answer;
mod bystanders;
mod picture;
mod plan;
mod proxy;
mod watching;

pub use bystanders::Bystanders;
pub use picture::{Picture, difference, pictures};
pub use plan::{Dice, Fault, Plan};
pub use proxy::{Proxy, Seen};
