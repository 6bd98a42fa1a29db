//! The lengths of a bar.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The length of a bar, as `5m` or `4h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Timeframe {
    /// One minute.
    #[serde(rename = "1m")]
    M1,
    /// Five minutes.
    #[serde(rename = "5m")]
    M5,
    /// A quarter of an hour.
    #[serde(rename = "15m")]
    M15,
    /// Half an hour.
    #[serde(rename = "30m")]
    M30,
    /// One hour.
    #[serde(rename = "1h")]
    H1,
    /// Four hours.
    #[serde(rename = "4h")]
    H4,
    /// One day.
    #[serde(rename = "1d")]
    D1,
    /// One week, from Monday.
    #[serde(rename = "1w")]
    W1,
}

impl Timeframe {
    /// Every timeframe, the finest first.
    pub const ALL: [Self; 8] =
        [Self::M1, Self::M5, Self::M15, Self::M30, Self::H1, Self::H4, Self::D1, Self::W1];

    /// The length in seconds.
    pub const fn as_secs(self) -> i64 {
        match self {
            Self::M1 => 60,
            Self::M5 => 300,
            Self::M15 => 900,
            Self::M30 => 1800,
            Self::H1 => 3600,
            Self::H4 => 4 * 3600,
            Self::D1 => 86_400,
            Self::W1 => 7 * 86_400,
        }
    }

    /// How manifests and files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::M1 => "1m",
            Self::M5 => "5m",
            Self::M15 => "15m",
            Self::M30 => "30m",
            Self::H1 => "1h",
            Self::H4 => "4h",
            Self::D1 => "1d",
            Self::W1 => "1w",
        }
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no timeframe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no timeframe; use one of 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w")]
pub struct ParseTimeframeError(String);

impl FromStr for Timeframe {
    type Err = ParseTimeframeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|timeframe| timeframe.as_str() == text)
            .ok_or_else(|| ParseTimeframeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_serde_forms_are_the_same() {
        for timeframe in Timeframe::ALL {
            assert_eq!(serde_json::to_value(timeframe).unwrap(), timeframe.as_str());
            assert_eq!(timeframe.as_str().parse::<Timeframe>().unwrap(), timeframe);
        }
        assert!("2h".parse::<Timeframe>().unwrap_err().to_string().contains("use one of"));
    }
}
