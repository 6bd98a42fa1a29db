//! How a bot thinks: a pure, synchronous function from events to outputs.
//!
//! [`Engine::handle`] takes what happened and says what the bot does about it. There is no clock, no
//! I/O, no thread and no chance in here: the same events give the same outputs, bit for bit, whether
//! they come live, from a replay or from a journal after a crash.
//!
//! The way of a bar: [`market`] checks and aggregates it, [`analysis`] turns it into numbers, a
//! [`panel`] argues over them, the gatekeeper in [`risk`] says whether and how much, the [`venue`] fills,
//! the [`ledger`] books, and [`exits`] watch the stop.

#![warn(missing_docs)]
// What `clippy.toml` disallows is what makes the engine a function.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod analysis;
pub mod exits;
pub mod ledger;
pub mod market;
pub mod orders;
pub mod panel;
pub mod risk;
pub mod venue;

mod asset_state;
mod cycle;
mod decimal;
mod decision;
mod engine;
mod error;
mod event;
mod id;
mod intake;
mod output;
mod snapshot;
mod states;
mod trading;
mod view;

pub use engine::Engine;
pub use error::EngineError;
pub use event::{Event, EventKind};
pub use id::Id;
pub use market::Bar;
pub use output::*;
pub use panel::{Action, Evidence, Opinion, Panel, RulesPanel, Seat};
pub use risk::{Asked, CheckResult, Gate, Hearing, Plan, Reason, Rejection, RiskGate};
pub use snapshot::Snapshot;
pub use states::LoopState;
pub use view::{Account, BotId, Position};
