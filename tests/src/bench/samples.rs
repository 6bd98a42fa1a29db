//! Durations and what is said of them.

use std::time::Duration;

use serde::Serialize;

/// Quantiles of a set of durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    /// How many there are.
    pub count: usize,
    /// Half are no longer.
    pub p50_ms: f64,
    /// Ninety-nine of a hundred are no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Samples {
    /// Quantiles by the nearest rank: each is one of the durations.
    pub fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let rank = |percent: usize| {
            let index = (durations.len() * percent).div_ceil(100).saturating_sub(1);
            durations.get(index).map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
        };
        Self { count: durations.len(), p50_ms: rank(50), p99_ms: rank(99), max_ms: rank(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let samples = Samples::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (samples.count, samples.p50_ms, samples.p99_ms, samples.max_ms),
            (200, 100.0, 198.0, 200.0)
        );
        assert_eq!(Samples::of(vec![Duration::from_millis(7)]).p99_ms, 7.0);
        assert_eq!(Samples::of(Vec::new()), Samples::default());
    }
}
