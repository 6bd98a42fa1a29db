//! One bot, alive: feeds, journal, HTTP and cluster around the engine.
#![warn(missing_docs)]

pub mod clock;
pub mod cluster;
pub mod commands;
pub mod driver;
pub mod feed;
#[cfg(test)]
mod fixtures;
pub mod gate;
pub mod http;
pub mod journal;
pub mod logging;
pub mod metrics;
mod narrate;
pub mod secret;
mod shown;
pub mod venue;
pub mod view;
