//! Durations as Kubernetes writes them: `300s`, `5m`, `1h30m`.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A positive duration in Go's notation, of whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(SignedDuration);

/// The notation that the API accepts; the API server checks it with the same pattern.
const PATTERN: &str = r"^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$";

impl Duration {
    /// A duration of so many seconds.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(SignedDuration::from_secs(seconds as i64))
    }

    /// Whole seconds.
    pub const fn as_secs(self) -> i64 {
        self.0.as_secs()
    }
}

impl From<Duration> for SignedDuration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

/// Text that is not a duration.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a duration; write hours, minutes and seconds in this order, such as 5m, 300s or 1h30m")]
pub struct ParseDurationError(String);

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseDurationError(text.to_owned());
        // jiff's friendly format is wider than Go's: it also takes days, spaces and commas.
        if !text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'h' | 'm' | 's')) {
            return Err(refused());
        }
        let duration: SignedDuration = text.parse().map_err(|_| refused())?;
        Ok(Self(duration))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.as_secs();
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes, rest) {
            (0, 0, s) => write!(f, "{s}s"),
            (h, m, s) => {
                if h > 0 {
                    write!(f, "{h}h")?;
                }
                if m > 0 {
                    write!(f, "{m}m")?;
                }
                if s > 0 {
                    write!(f, "{s}s")?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": 20})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_notation_is_read_and_anything_else_is_refused_with_the_remedy() {
        assert_eq!("5m".parse::<Duration>().unwrap(), Duration::from_secs(300));
        assert_eq!("1h30m".parse::<Duration>().unwrap().as_secs(), 5400);
        for text in ["", "5", "-5m", "5 m", "1d", "5m!", "m"] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains("such as 5m"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(seconds in 0u32..10_000_000) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(duration.to_string().parse::<Duration>().unwrap(), duration);
        }
    }
}
