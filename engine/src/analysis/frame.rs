//! The numbers of one asset on one timeframe.

use std::collections::BTreeMap;

use super::{Adx, Atr, Ema, Extremes, trend_score};
use crate::market::{Bar, Step};
use crate::panel::field;

/// The numbers of one asset.
#[derive(Clone, Debug)]
pub(crate) struct Analysis {
    decision: DecisionFrame,
    day: DayFrame,
}

impl Analysis {
    pub fn new() -> Self {
        Self { decision: DecisionFrame::new(), day: DayFrame::new() }
    }

    /// Takes in the bars that became final.
    pub fn push(&mut self, step: &Step) {
        step.decision.iter().flatten().for_each(|done| self.decision.push(&done.bar));
        step.day.iter().flatten().for_each(|done| self.day.push(&done.bar));
    }

    /// ATR14 on the decision timeframe.
    pub fn atr(&self) -> Option<f64> {
        self.decision.atr14.value()
    }

    /// Every number that is available, by its field.
    pub fn numbers(&self) -> BTreeMap<&'static str, f64> {
        let mut numbers = BTreeMap::new();
        self.decision.tell(&mut numbers);
        self.day.tell(&mut numbers);
        numbers
    }
}

/// What is computed on the 4h bars.
#[derive(Clone, Debug)]
struct DecisionFrame {
    close: Option<f64>,
    ema20: Ema,
    ema50: Ema,
    atr14: Atr,
    adx14: Adx,
    extremes: Extremes,
}

impl DecisionFrame {
    fn new() -> Self {
        Self {
            close: None,
            ema20: Ema::new(20),
            ema50: Ema::new(50),
            atr14: Atr::new(14),
            adx14: Adx::new(14),
            extremes: Extremes::new(20),
        }
    }

    fn push(&mut self, bar: &Bar) {
        self.close = Some(bar.close);
        self.ema20.push(bar.close);
        self.ema50.push(bar.close);
        self.atr14.push(bar);
        self.adx14.push(bar);
        self.extremes.push(bar);
    }

    fn tell(&self, numbers: &mut BTreeMap<&'static str, f64>) {
        let (ema20, ema50) = (self.ema20.value(), self.ema50.value());
        let (atr14, adx14) = (self.atr14.value(), self.adx14.value());
        let score = (|| trend_score(ema20?, ema50?, atr14?, adx14?))();
        let values = [
            (field::CLOSE_4H, self.close),
            (field::EMA20_4H, ema20),
            (field::EMA50_4H, ema50),
            (field::ATR14_4H, atr14),
            (field::ADX14_4H, adx14),
            (field::SCORE_4H, score),
            (field::HIGH20_4H, self.extremes.highest(20)),
            (field::LOW20_4H, self.extremes.lowest(20)),
            (field::HIGH10_4H, self.extremes.highest(10)),
            (field::LOW10_4H, self.extremes.lowest(10)),
        ];
        numbers.extend(values.into_iter().filter_map(|(field, value)| Some((field, value?))));
    }
}

/// What is computed on days.
#[derive(Clone, Debug)]
struct DayFrame {
    close: Option<f64>,
    ema50: Ema,
}

impl DayFrame {
    fn new() -> Self {
        Self { close: None, ema50: Ema::new(50) }
    }

    fn push(&mut self, bar: &Bar) {
        self.close = Some(bar.close);
        self.ema50.push(bar.close);
    }

    fn tell(&self, numbers: &mut BTreeMap<&'static str, f64>) {
        let values = [(field::CLOSE_1D, self.close), (field::EMA50_1D, self.ema50.value())];
        numbers.extend(values.into_iter().filter_map(|(field, value)| Some((field, value?))));
    }
}
