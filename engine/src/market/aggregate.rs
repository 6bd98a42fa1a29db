//! Coarser bars from finer ones, aligned to UTC.

use crds::Timeframe;
use jiff::Timestamp;

use super::Bar;

/// A bar whose interval has passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FinalBar {
    /// When its interval ended.
    pub end: Timestamp,
    /// The prices.
    pub bar: Bar,
}

/// Makes the bars of one timeframe. An interval in which no bar arrived makes none: it would be flat
/// and synthetic, which indicators skip.
#[derive(Clone, Debug)]
pub(crate) struct Aggregator {
    timeframe: Timeframe,
    /// The interval in progress, by its end in seconds since 1970.
    open: Option<(i64, Bar)>,
}

impl Aggregator {
    pub fn new(timeframe: Timeframe) -> Self {
        Self { timeframe, open: None }
    }

    /// Takes in a finer bar and hands over what became final by it, oldest first: the interval before,
    /// when its last bars never came, and this one, when the bar is its last.
    pub fn push(&mut self, end: Timestamp, bar: &Bar) -> [Option<FinalBar>; 2] {
        let length = self.timeframe.as_secs();
        let end = end.as_second();
        // Intervals hold their end: the bar that ends at a boundary belongs to the interval before it.
        let boundary = (end - 1).div_euclid(length) * length + length;
        let before = self.open.take_if(|(open, _)| *open != boundary).and_then(final_bar);
        let bar = match self.open.take() {
            Some((_, mut bar_so_far)) => {
                bar_so_far.extend(bar);
                bar_so_far
            }
            None => *bar,
        };
        if end == boundary {
            [before, final_bar((boundary, bar))]
        } else {
            self.open = Some((boundary, bar));
            [before, None]
        }
    }
}

fn final_bar((end, bar): (i64, Bar)) -> Option<FinalBar> {
    Some(FinalBar { end: Timestamp::from_second(end).ok()?, bar })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(price: f64) -> Bar {
        Bar { open: price, high: price + 2.0, low: price - 1.0, close: price + 1.0, volume: 1.0 }
    }

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    #[test]
    fn a_bar_is_final_when_the_one_that_ends_at_its_boundary_arrives() {
        let mut h4 = Aggregator::new(Timeframe::H4);
        for end in 1..=3 {
            assert_eq!(h4.push(hour(end), &bar(100.0 + end as f64)), [None, None]);
        }
        let expected = Bar { open: 101.0, high: 106.0, low: 100.0, close: 105.0, volume: 4.0 };
        let done = h4.push(hour(4), &bar(104.0));
        assert_eq!(done, [None, Some(FinalBar { end: hour(4), bar: expected })]);
    }

    #[test]
    fn a_bar_is_final_when_a_later_one_arrives() {
        let mut h4 = Aggregator::new(Timeframe::H4);
        h4.push(hour(1), &bar(100.0));
        // Hours 2 to 8 are missing: the first interval is final, the second would be synthetic.
        let done = h4.push(hour(9), &bar(200.0));
        assert_eq!(done, [Some(FinalBar { end: hour(4), bar: bar(100.0) }), None]);
        // The first interval's rest did not leak into the next one.
        h4.push(hour(10), &bar(201.0));
        let done = h4.push(hour(13), &bar(300.0));
        let merged = Bar { open: 200.0, high: 203.0, low: 199.0, close: 202.0, volume: 2.0 };
        assert_eq!(done, [Some(FinalBar { end: hour(12), bar: merged }), None]);
        let done = h4.push(hour(16), &bar(301.0));
        assert_eq!(done[1].unwrap().end, hour(16));
    }

    #[test]
    fn bars_of_the_same_length_pass_through() {
        let mut h4 = Aggregator::new(Timeframe::H4);
        assert_eq!(h4.push(hour(8), &bar(1.5)), [None, Some(FinalBar { end: hour(8), bar: bar(1.5) })]);
    }

    #[test]
    fn days_are_aligned_to_utc() {
        let mut d1 = Aggregator::new(Timeframe::D1);
        let midnight: Timestamp = "2020-03-12T00:00:00Z".parse().unwrap();
        let start = midnight.as_second() / 3600;
        for offset in 1..24 {
            assert_eq!(d1.push(hour(start + offset), &bar(10.0)), [None, None]);
        }
        let done = d1.push(hour(start + 24), &bar(10.0));
        assert_eq!(done[1].unwrap().end, "2020-03-13T00:00:00Z".parse().unwrap());
    }
}
