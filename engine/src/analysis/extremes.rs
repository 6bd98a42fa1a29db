//! Highest high and lowest low of the bars before the last one.

use std::collections::VecDeque;

use crate::market::Bar;

/// Extremes over the bars that came before the newest one, so that a close can break them.
#[derive(Clone, Debug)]
pub struct Extremes {
    longest: usize,
    newest: Option<(f64, f64)>,
    before: VecDeque<(f64, f64)>,
}

impl Extremes {
    /// Extremes over up to so many bars.
    pub fn new(longest: usize) -> Self {
        Self { longest, newest: None, before: VecDeque::with_capacity(longest + 1) }
    }

    /// Takes in the next final bar.
    pub fn push(&mut self, bar: &Bar) {
        self.before.extend(self.newest.replace((bar.high, bar.low)));
        if self.before.len() > self.longest {
            self.before.pop_front();
        }
    }

    /// Highest high of the `count` bars before the newest one, when there were so many.
    pub fn highest(&self, count: usize) -> Option<f64> {
        self.last(count)?.map(|(high, _)| high).reduce(f64::max)
    }

    /// Lowest low of the `count` bars before the newest one, when there were so many.
    pub fn lowest(&self, count: usize) -> Option<f64> {
        self.last(count)?.map(|(_, low)| low).reduce(f64::min)
    }

    fn last(&self, count: usize) -> Option<impl Iterator<Item = (f64, f64)>> {
        (self.before.len() >= count).then(|| self.before.iter().rev().take(count).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_newest_bar_is_not_among_those_it_may_break(
            prices in proptest::collection::vec((1.0f64..100.0, 0.0f64..10.0), 1..60),
            count in 1usize..20,
        ) {
            let mut extremes = Extremes::new(20);
            for (index, (low, range)) in prices.iter().enumerate() {
                extremes.push(&Bar { open: *low, high: low + range, low: *low, close: *low, volume: 0.0 });
                let before = &prices[index.saturating_sub(count)..index];
                let enough = before.len() == count;
                let highest = before.iter().map(|(low, range)| low + range).reduce(f64::max);
                let lowest = before.iter().map(|(low, _)| *low).reduce(f64::min);
                prop_assert_eq!(extremes.highest(count), highest.filter(|_| enough));
                prop_assert_eq!(extremes.lowest(count), lowest.filter(|_| enough));
            }
        }
    }
}
