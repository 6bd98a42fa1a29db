//! One check, one file. Each says yes or no with its number, a word, what it measured and what it allows.

mod activity;
mod confidence;
mod freshness;
pub(super) mod minimum;
mod operation;
mod repetition;
pub(super) mod room;

use super::{Candidate, CheckResult};

/// A check of a candidate alone. It may look at several things and says something of each.
pub(super) type Check = fn(&Candidate) -> Vec<CheckResult>;

/// The checks that need neither stop nor size, in the order in which they are asked.
pub(super) const CHECKS_BEFORE_THE_PLAN: [Check; 5] =
    [operation::check, freshness::check, confidence::check, activity::check, repetition::check];
