//! Where prices come from. A feed delivers steps: everything that happens at one market time.

pub mod csv;
pub mod files;
pub mod replay;
mod steps;

use engine::Event;
use jiff::Timestamp;

pub use steps::Steps;

/// Everything that the feed has for one market time. It is handled and journaled as a whole, so that a
/// journal never ends within one.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Market time.
    pub at: Timestamp,
    /// History and bars in the configuration's asset order, then the timer.
    pub events: Vec<Event>,
    /// Whether it fills the indicators only, and is thus delivered without waiting.
    pub warmup: bool,
}

/// How the feed fares, as the condition `FeedHealthy` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedHealth {
    /// Nothing delivered yet.
    Starting,
    /// Bars are delivered.
    Replaying,
    /// The last bar has been delivered and the replay holds.
    Finished,
    /// The data cannot be used.
    Broken(String),
}

impl FeedHealth {
    /// The stable word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Starting => "ReplayStarting",
            Self::Replaying => "Replaying",
            Self::Finished => "ReplayFinished",
            Self::Broken(_) => "BadData",
        }
    }

    /// Whether prices can be trusted to arrive.
    pub const fn is_healthy(&self) -> bool {
        !matches!(self, Self::Broken(_))
    }

    /// The word with what a person should know.
    pub fn message(&self) -> &str {
        match self {
            Self::Starting => "the recorded bars are being read",
            Self::Replaying => "recorded bars are being delivered",
            Self::Finished => "the last recorded bar has been delivered; positions are kept",
            Self::Broken(message) => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_tell_of_every_reason_of_the_condition() {
        let page = include_str!("../../../docs/status.md");
        let (_, section) = page.split_once("\n## Reasons of `FeedHealthy`\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let told: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let next = |health: &FeedHealth| match health {
            FeedHealth::Starting => Some(FeedHealth::Replaying),
            FeedHealth::Replaying => Some(FeedHealth::Finished),
            FeedHealth::Finished => Some(FeedHealth::Broken("*the file, and what is wrong with it*".into())),
            FeedHealth::Broken(_) => None,
        };
        let rows: Vec<String> = std::iter::successors(Some(FeedHealth::Starting), next)
            .map(|health| {
                let status = if health.is_healthy() { "True" } else { "False" };
                format!("| `{}` | `{status}` | {} |", health.reason(), health.message())
            })
            .collect();
        assert_eq!(told, rows);
    }
}
