//! The loop's states and the moves between them.

use serde::{Deserialize, Serialize};

/// Where the loop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoopState {
    /// Between cycles.
    Idle,
    /// State is being restored.
    Recovering,
    /// Observes: which assets have something new.
    Perception,
    /// Orients and decides: the panel.
    Reasoning,
    /// The gatekeeper.
    RiskCheck,
    /// Acts: orders go out.
    Execution,
    /// Books what a closed trade or a cycle taught.
    Learning,
}

impl LoopState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Recovering,
        Self::Perception,
        Self::Reasoning,
        Self::RiskCheck,
        Self::Execution,
        Self::Learning,
    ];

    /// The word for status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Recovering => "Recovering",
            Self::Perception => "Perception",
            Self::Reasoning => "Reasoning",
            Self::RiskCheck => "RiskCheck",
            Self::Execution => "Execution",
            Self::Learning => "Learning",
        }
    }

    /// Whether the table allows the move.
    pub const fn may_go_to(self, to: Self) -> bool {
        match self {
            Self::Idle => matches!(to, Self::Recovering | Self::Perception | Self::Learning),
            Self::Recovering => matches!(to, Self::Idle | Self::Perception),
            Self::Perception => matches!(to, Self::Reasoning | Self::Idle),
            Self::Reasoning => matches!(to, Self::RiskCheck | Self::Idle),
            Self::RiskCheck => matches!(to, Self::Execution | Self::Reasoning | Self::Idle),
            Self::Execution => matches!(to, Self::Learning | Self::Idle),
            Self::Learning => matches!(to, Self::Idle | Self::Perception),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_these_moves_and_no_other() {
        use LoopState::*;
        let legal = [
            (Idle, Recovering),
            (Idle, Perception),
            (Idle, Learning),
            (Recovering, Idle),
            (Recovering, Perception),
            (Perception, Reasoning),
            (Perception, Idle),
            (Reasoning, RiskCheck),
            (Reasoning, Idle),
            (RiskCheck, Execution),
            (RiskCheck, Reasoning),
            (RiskCheck, Idle),
            (Execution, Learning),
            (Execution, Idle),
            (Learning, Idle),
            (Learning, Perception),
        ];
        for from in LoopState::ALL {
            for to in LoopState::ALL {
                assert_eq!(from.may_go_to(to), legal.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
    }
}
