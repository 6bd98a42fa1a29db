//! The built-in analysts: breakouts with the daily trend, at 4h closes.
//!
//! There is no weekly filter yet.

use super::brief::{Brief, MissingNumber, field};
use super::{Action, Evidence, Opinion, Panel, Seat, Verdict};
use crate::output::Side;

/// Confidence of an opinion without any support from the trend.
const BASE: f64 = 70.0;
/// What full support adds.
const SUPPORT: f64 = 20.0;

/// Three seats that follow fixed rules; no key, no network, the same brief gives the same verdict.
///
/// The bull opens when the day closed above its EMA50 and 4h above the highest high of the 20 bars
/// before. The bear mirrors it; where the venue does not short, it closes only. The judge follows the
/// one that wants to open, and closes when 4h closes beyond the extreme of the 10 bars before, against
/// the position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulesPanel;

impl Panel for RulesPanel {
    fn deliberate(&self, brief: &Brief) -> Verdict {
        let mut opinions = Vec::with_capacity(3);
        for seat in [Seat::Bull, Seat::Bear, Seat::Judge] {
            let opinion = match seat {
                Seat::Bull => breakout(brief, Seat::Bull, Side::Long),
                Seat::Bear => breakout(brief, Seat::Bear, Side::Short),
                Seat::Judge => judge(brief, &opinions),
            };
            match opinion {
                Ok(opinion) => opinions.push(opinion),
                Err(missing) => {
                    let thesis = format!("cannot argue: {missing}");
                    opinions.push(Opinion {
                        seat,
                        action: Action::Hold,
                        confidence: 0,
                        thesis,
                        evidence: vec![],
                    });
                    return Verdict {
                        action: Action::Hold,
                        confidence: 0,
                        opinions,
                        empty_chair: Some(seat),
                    };
                }
            }
        }
        let (action, confidence) =
            opinions.last().map_or((Action::Hold, 0), |judge| (judge.action, judge.confidence));
        Verdict { action, confidence, opinions, empty_chair: None }
    }
}

/// The bull's case, or the bear's, which is its mirror image.
fn breakout(brief: &Brief, seat: Seat, side: Side) -> Result<Opinion, MissingNumber> {
    let (extreme, beyond, open) = match side {
        Side::Long => (field::HIGH20_4H, "above", Action::OpenLong),
        Side::Short => (field::LOW20_4H, "below", Action::OpenShort),
    };
    let day = [brief.cite(field::CLOSE_1D)?, brief.cite(field::EMA50_1D)?];
    let four_hours = [brief.cite(field::CLOSE_4H)?, brief.cite(extreme)?];
    let with_trend = is_beyond(side, &day);
    let breaks_out = is_beyond(side, &four_hours);
    let wanted = if brief.legal.contains(&open) {
        open
    } else if brief.position.is_some_and(|position| position != side) {
        Action::Close
    } else {
        Action::Hold
    };
    let says = |yes: bool| if yes { "" } else { "not " };
    let thesis = format!(
        "the day closed {}{beyond} its EMA50; 4h closed {}{beyond} the extreme of the 20 bars before",
        says(with_trend),
        says(breaks_out),
    );
    let mut evidence = Vec::from_iter(day.into_iter().chain(four_hours));
    if !(with_trend && breaks_out) || wanted == Action::Hold {
        return Ok(Opinion { seat, action: Action::Hold, confidence: 0, thesis, evidence });
    }
    let confidence = support(brief, side, &mut evidence)?;
    Ok(Opinion { seat, action: wanted, confidence, thesis, evidence })
}

fn judge(brief: &Brief, cases: &[Opinion]) -> Result<Opinion, MissingNumber> {
    let seat = Seat::Judge;
    if let Some(position) = brief.position {
        let (extreme, against, word) = match position {
            Side::Long => (field::LOW10_4H, Side::Short, "below"),
            Side::Short => (field::HIGH10_4H, Side::Long, "above"),
        };
        let close = [brief.cite(field::CLOSE_4H)?, brief.cite(extreme)?];
        let turned = is_beyond(against, &close);
        let mut evidence = Vec::from(close);
        if !turned {
            let thesis =
                format!("4h did not close {word} the extreme of the 10 bars before; the position stays");
            return Ok(Opinion { seat, action: Action::Hold, confidence: 0, thesis, evidence });
        }
        let confidence = support(brief, against, &mut evidence)?;
        let thesis = format!("4h closed {word} the extreme of the 10 bars before, against the position");
        return Ok(Opinion { seat, action: Action::Close, confidence, thesis, evidence });
    }
    // A close cannot be above the highest and below the lowest of the same bars: one case at most opens.
    let case = cases.iter().find(|case| case.action.opens().is_some());
    Ok(match case {
        Some(case) => Opinion { seat, thesis: format!("agreed: {}", case.thesis), ..case.clone() },
        None => Opinion {
            seat,
            action: Action::Hold,
            confidence: 0,
            thesis: "neither case is made".into(),
            evidence: vec![brief.cite(field::CLOSE_4H)?],
        },
    })
}

/// Whether the first number is strictly beyond the second, in the direction of the side.
fn is_beyond(side: Side, [value, line]: &[Evidence; 2]) -> bool {
    (value.value - line.value) * side.sign() > 0.0
}

/// Confidence from how far the trend supports the side: 70 + 20 · the mean of what is available of the
/// trend score and the ADX, each from 0 to 1.
fn support(brief: &Brief, side: Side, evidence: &mut Vec<Evidence>) -> Result<u8, MissingNumber> {
    let mut terms = Vec::with_capacity(2);
    if let Ok(score) = brief.cite(field::SCORE_4H) {
        terms.push((score.value * side.sign() / 100.0).clamp(0.0, 1.0));
        evidence.push(score);
    }
    if let Ok(adx) = brief.cite(field::ADX14_4H) {
        terms.push(((adx.value - 10.0) / 20.0).clamp(0.0, 1.0));
        evidence.push(adx);
    }
    if terms.is_empty() {
        return Err(MissingNumber(field::ADX14_4H));
    }
    let mean = terms.iter().sum::<f64>() / terms.len() as f64;
    // Between 70 and 90.
    Ok((BASE + SUPPORT * mean).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::legal_actions;
    use crds::AssetClass;

    fn brief(position: Option<Side>, class: AssetClass, numbers: &[(&'static str, f64)]) -> Brief {
        let calm = [
            (field::CLOSE_1D, 110.0),
            (field::EMA50_1D, 100.0),
            (field::CLOSE_4H, 112.0),
            (field::HIGH20_4H, 115.0),
            (field::LOW20_4H, 105.0),
            (field::HIGH10_4H, 114.0),
            (field::LOW10_4H, 106.0),
            (field::SCORE_4H, 50.0),
            (field::ADX14_4H, 20.0),
        ];
        Brief {
            asset: "BTC-USD".parse().unwrap(),
            at: "2020-05-01T12:00:00Z".parse().unwrap(),
            position,
            legal: legal_actions(class, position),
            numbers: calm.into_iter().chain(numbers.iter().copied()).collect(),
        }
    }

    fn verdict(position: Option<Side>, class: AssetClass, numbers: &[(&'static str, f64)]) -> (Action, u8) {
        let verdict = RulesPanel.deliberate(&brief(position, class, numbers));
        assert_eq!(verdict.opinions.len(), 3);
        assert_eq!(verdict.empty_chair, None);
        (verdict.action, verdict.confidence)
    }

    #[test]
    fn the_bull_opens_on_a_breakout_with_the_daily_trend() {
        let crypto = AssetClass::Crypto;
        assert_eq!(verdict(None, crypto, &[]), (Action::Hold, 0));
        let breakout = (field::CLOSE_4H, 115.5);
        // 70 + 20 · mean(0.5, 0.5)
        assert_eq!(verdict(None, crypto, &[breakout]), (Action::OpenLong, 80));
        // Touching the line is not breaking it.
        assert_eq!(verdict(None, crypto, &[(field::CLOSE_4H, 115.0)]), (Action::Hold, 0));
        assert_eq!(verdict(None, crypto, &[breakout, (field::CLOSE_1D, 99.0)]), (Action::Hold, 0));
        assert_eq!(verdict(Some(Side::Long), crypto, &[breakout]), (Action::Hold, 0));
    }

    #[test]
    fn the_bear_mirrors_the_bull_and_only_where_one_may_short() {
        let breakdown = [(field::CLOSE_4H, 104.0), (field::CLOSE_1D, 99.0), (field::SCORE_4H, -50.0)];
        assert_eq!(verdict(None, AssetClass::Crypto, &breakdown), (Action::Hold, 0));
        assert_eq!(verdict(None, AssetClass::Forex, &breakdown), (Action::OpenShort, 80));
        let verdict = RulesPanel.deliberate(&brief(Some(Side::Long), AssetClass::Crypto, &breakdown));
        let bear = &verdict.opinions[1];
        assert_eq!((bear.seat, bear.action), (Seat::Bear, Action::Close));
    }

    #[test]
    fn the_judge_closes_on_a_10_bar_extreme_against_the_position() {
        let crypto = AssetClass::Crypto;
        assert_eq!(verdict(Some(Side::Long), crypto, &[(field::CLOSE_4H, 105.9)]), (Action::Close, 75));
        assert_eq!(verdict(Some(Side::Long), crypto, &[(field::CLOSE_4H, 106.0)]), (Action::Hold, 0));
        let forex = AssetClass::Forex;
        assert_eq!(verdict(Some(Side::Short), forex, &[(field::CLOSE_4H, 114.5)]), (Action::Close, 80));
    }

    #[test]
    fn confidence_is_the_mean_of_what_is_available() {
        let mut brief =
            brief(None, AssetClass::Crypto, &[(field::CLOSE_4H, 116.0), (field::SCORE_4H, 100.0)]);
        assert_eq!(RulesPanel.deliberate(&brief).confidence, 85);
        brief.numbers.remove(field::ADX14_4H);
        assert_eq!(RulesPanel.deliberate(&brief).confidence, 90);
        brief.numbers.insert(field::SCORE_4H, -100.0);
        assert_eq!(RulesPanel.deliberate(&brief).confidence, 70);
        brief.numbers.remove(field::SCORE_4H);
        assert_eq!(RulesPanel.deliberate(&brief).empty_chair, Some(Seat::Bull));
    }

    #[test]
    fn a_missing_number_is_an_empty_chair_and_no_trade() {
        for (missing, seat) in [(field::EMA50_1D, Seat::Bull), (field::LOW20_4H, Seat::Bear)] {
            let mut brief = brief(None, AssetClass::Crypto, &[(field::CLOSE_4H, 116.0)]);
            brief.numbers.remove(missing);
            let verdict = RulesPanel.deliberate(&brief);
            assert_eq!((verdict.action, verdict.empty_chair), (Action::Hold, Some(seat)));
            assert!(verdict.opinions.last().unwrap().thesis.contains(missing));
        }
    }

    #[test]
    fn every_piece_of_evidence_is_a_number_of_the_brief() {
        let brief = brief(None, AssetClass::Crypto, &[(field::CLOSE_4H, 116.0)]);
        for opinion in RulesPanel.deliberate(&brief).opinions {
            assert!(!opinion.evidence.is_empty());
            for Evidence { field, value } in opinion.evidence {
                assert_eq!(brief.numbers.get(field.as_str()), Some(&value));
            }
        }
    }
}
