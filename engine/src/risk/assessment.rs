//! What the gatekeeper was asked and what each of its checks said: enough to ask it again.

use serde::{Deserialize, Serialize};

use super::{Candidate, Exit, Gate, Plan, Reason, Rejection, assess_exit};
use crate::panel::Verdict;

/// What one check says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// The number of the check; 0 is the stage before and between the checks: legal actions, stop, size.
    pub check: u8,
    /// What it looks at: the word of the rejection that follows from a *no*.
    pub about: Reason,
    /// Whether it says yes.
    pub passed: bool,
    /// What was measured, where there is something to measure.
    pub measured: Option<f64>,
    /// What it is compared with.
    pub limit: Option<f64>,
}

impl CheckResult {
    /// A check with nothing to measure.
    pub(crate) fn plain(check: u8, about: Reason, passed: bool) -> Self {
        Self { check, about, passed, measured: None, limit: None }
    }

    /// A check of a number.
    pub(crate) fn measured(check: u8, about: Reason, passed: bool, measured: f64, limit: f64) -> Self {
        // A number that is none cannot be written down; it was a *no* already.
        let finite = |value: f64| value.is_finite().then_some(value);
        Self { check, about, passed, measured: finite(measured), limit: finite(limit) }
    }
}

/// What every check says of a candidate. The checks that need a stop or a size are absent where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// In the order in which they are asked.
    pub checks: Vec<CheckResult>,
    /// The entry, when all say yes.
    pub plan: Option<Plan>,
}

impl Assessment {
    /// The plan, or the first *no*.
    ///
    /// # Errors
    /// The first check that says no.
    pub fn answer(self) -> Result<Plan, Rejection> {
        let refused = first_no(&self.checks);
        match self.plan {
            Some(plan) if refused.is_none() => Ok(plan),
            _ => Err(refused.unwrap_or(Rejection::new(0, Reason::NoSize))),
        }
    }
}

/// The rejection that follows from what the checks say.
pub(crate) fn first_no(checks: &[CheckResult]) -> Option<Rejection> {
    let no = checks.iter().find(|check| !check.passed)?;
    Some(Rejection { check: no.check, reason: no.about, measured: no.measured, limit: no.limit })
}

/// What the gatekeeper was asked about a verdict and what it said, as it is recorded with the decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hearing {
    /// What it looked at.
    pub asked: Asked,
    /// What each check said, in the order in which they are asked. The first *no* is the rejection.
    pub checks: Vec<CheckResult>,
}

impl Hearing {
    /// Asks a gatekeeper. An approved entry has a plan, an approved exit has none.
    pub(crate) fn hold(gate: &impl Gate, asked: Asked) -> (Self, Result<Option<Plan>, Rejection>) {
        let (checks, answer) = match &asked {
            Asked::Entry(candidate) => {
                let assessment = gate.assess(candidate);
                (assessment.checks.clone(), assessment.answer().map(Some))
            }
            Asked::Exit(exit) => {
                let checks = assess_exit(exit);
                let answer = first_no(&checks).map_or(Ok(None), Err);
                (checks, answer)
            }
        };
        (Self { asked, checks }, answer)
    }
}

/// What the gatekeeper was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Asked {
    /// Whether a position may be opened.
    Entry(Box<Candidate>),
    /// Whether one may be closed.
    Exit(Exit),
}

impl Asked {
    /// The same question about another verdict.
    pub(crate) fn about(&self, verdict: &Verdict) -> Self {
        let (action, confidence) = (verdict.action, verdict.confidence);
        match self {
            Self::Entry(candidate) => {
                Self::Entry(Box::new(Candidate { action, confidence, ..candidate.as_ref().clone() }))
            }
            Self::Exit(exit) => Self::Exit(Exit { confidence, ..*exit }),
        }
    }
}
