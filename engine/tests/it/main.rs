//! The engine from outside: events in, outputs out.
//!
//! The modules are marked as tests so that their helpers may unwrap, too.

#[cfg(test)]
mod bots;
#[cfg(test)]
mod data;
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod determinism;
#[cfg(test)]
mod interruptions;
#[cfg(test)]
mod loop_moves;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod random_reports;
#[cfg(test)]
mod random_walks;
#[cfg(test)]
mod recomputation;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod reference_trade;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reservations;
#[cfg(test)]
mod rules_of_time;
#[cfg(test)]
mod takeovers;
#[cfg(test)]
mod year;
