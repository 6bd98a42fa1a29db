//! How a decision is put on record, and made again from its record.

use crate::id::Id;
use crate::output::{Decision, Outcome};
use crate::panel::{Action, Brief, Panel, RulesPanel, Verdict, field, legal_actions};
use crate::risk::{Hearing, Plan, Rejection, RiskGate};
use crate::view::BotId;

/// What became of a verdict, and why.
pub(crate) struct Ruling {
    pub outcome: Outcome,
    pub rejection: Option<Rejection>,
    pub plan: Option<Plan>,
    pub gate: Option<Hearing>,
}

impl Ruling {
    /// What a verdict comes to that the gatekeeper is not asked about; none for one that it is.
    pub fn unasked(verdict: &Verdict) -> Option<Self> {
        let outcome = match (verdict.empty_chair, verdict.action) {
            (Some(_), _) => Outcome::Abstained,
            (None, Action::Hold) => Outcome::Hold,
            (None, _) => return None,
        };
        Some(Self { outcome, rejection: None, plan: None, gate: None })
    }

    pub fn approved(plan: Option<Plan>, gate: Option<Hearing>) -> Self {
        Self { outcome: Outcome::Approved, rejection: None, plan, gate }
    }

    pub fn rejected(rejection: Rejection, gate: Option<Hearing>) -> Self {
        Self { outcome: Outcome::Rejected, rejection: Some(rejection), plan: None, gate }
    }
}

impl Decision {
    pub(crate) fn record(bot: &BotId, brief: Brief, verdict: Verdict, ruling: Ruling) -> Self {
        let Ruling { outcome, rejection, plan, gate } = ruling;
        Self {
            id: Id::decision(bot, &brief.asset, brief.at),
            at: brief.at,
            asset: brief.asset,
            action: verdict.action,
            confidence: verdict.confidence,
            opinions: verdict.opinions,
            outcome,
            rejection,
            plan,
            position: brief.position,
            brief: brief.numbers.into_iter().map(|(field, value)| (field.to_owned(), value)).collect(),
            gate,
        }
    }

    /// The decision anew, from what it saw: the built-in panel on the brief, and the built-in gatekeeper on
    /// what it was asked. It equals the recorded one unless it was made by other code.
    ///
    /// A verdict that the gatekeeper was not asked about at the time cannot be asked about now; it keeps the
    /// recorded outcome.
    #[must_use]
    pub fn recompute(&self, bot: &BotId) -> Self {
        let numbers = self.brief.iter().filter_map(|(name, value)| Some((field::known(name)?, *value)));
        let brief = Brief {
            asset: self.asset.clone(),
            at: self.at,
            position: self.position,
            legal: legal_actions(self.asset.class(), self.position),
            numbers: numbers.collect(),
        };
        let verdict = RulesPanel.deliberate(&brief);
        let ruling = Ruling::unasked(&verdict).unwrap_or_else(|| match &self.gate {
            None => Ruling {
                outcome: self.outcome,
                rejection: self.rejection.clone(),
                plan: self.plan.clone(),
                gate: None,
            },
            Some(before) => {
                let (hearing, answer) = Hearing::hold(&RiskGate, before.asked.about(&verdict));
                match answer {
                    Ok(plan) => Ruling::approved(plan, Some(hearing)),
                    Err(rejection) => Ruling::rejected(rejection, Some(hearing)),
                }
            }
        });
        Self::record(bot, brief, verdict, ruling)
    }
}
