//! A small market made by rule, whose scores were also computed with numpy, pandas and scipy: both must agree to 1e-6.
//!
//! It holds what scores stumble over: a young and a very young instrument, one that ends, gaps, a flat stretch, ties, an
//! index, decisions named by a Saturday, too early or too late to be scored.

use std::collections::BTreeMap;

use chrono::{Datelike, Days, Weekday};

use crate::evaluation::forecasts::{DirectionRow, Forecasts, QuantileRow, RankRow, VolatilityRow};
use crate::evaluation::report::{Comparison, LossReport};
use crate::evaluation::scorecard::{Scorecard, score};
use crate::market::bar::{Bar, BarFields, Day};
use crate::market::history::{History, InstrumentRows};
use crate::market::instrument::{Instrument, InstrumentKind, Symbol};

const SESSIONS: usize = 1120;
const INSTRUMENTS: usize = 27;
const INDEX: usize = 26;

/// Knuth's 64-bit linear congruential generator: the same numbers in any language.
struct Congruential(u64);

impl Congruential {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn symbol(index: usize) -> Symbol {
    Symbol::parse(&if index == INDEX { "VIX".into() } else { format!("A{index:02}") }).unwrap()
}

fn sessions() -> Vec<Day> {
    let start = Day::from_ymd_opt(2013, 1, 1).unwrap();
    start.iter_days().filter(|d| !matches!(d.weekday(), Weekday::Sat | Weekday::Sun)).take(SESSIONS).collect()
}

fn has_bar(index: usize, session: usize) -> bool {
    match index {
        1 => session >= 400,
        2 => session >= 600,
        3 => session <= 850,
        4 => ![500, 871, 872].contains(&session),
        _ => true,
    }
}

pub(super) fn market() -> History {
    let (mut random, mut level) = (Congruential(1), [0.0; INSTRUMENTS]);
    let mut bars: Vec<Vec<Bar>> = vec![Vec::new(); INSTRUMENTS];
    for (session, day) in sessions().into_iter().enumerate() {
        let common = random.next() - 0.5;
        for index in 0..INSTRUMENTS {
            let shock = random.next() + random.next() + random.next() - 1.5;
            let flat = index == 5 && (850..900).contains(&session);
            let log_return = 0.01 * common + 0.02 * shock * (0.5 + index as f64 / 26.0);
            level[index] += if flat { 0.0 } else { log_return };
            if index == 7 {
                level[7] = level[6];
            }
            if has_bar(index, session) {
                let close = 100.0 * level[index].exp();
                let fields = BarFields { day, open: None, high: None, low: None, close, volume: None };
                bars[index].push(Bar::new(fields).unwrap());
            }
        }
    }
    let rows = bars.into_iter().enumerate().map(|(index, bars)| {
        let kind = if index == INDEX { InstrumentKind::Index } else { InstrumentKind::Equity };
        let instrument = Instrument { kind, ..Instrument::unnamed(symbol(index)) };
        InstrumentRows { instrument, bars, actions: vec![], filings: vec![] }
    });
    History::assemble(rows.collect(), vec![])
}

pub(super) fn forecasts() -> Forecasts {
    let (sessions, mut random) = (sessions(), Congruential(2));
    let (mut forecasts, mut ranks) = (Forecasts::default(), Vec::new());
    for session in std::iter::once(200).chain((800..SESSIONS).step_by(10)) {
        let day = sessions[session];
        let as_of = if day.weekday() == Weekday::Fri { day + Days::new(1) } else { day };
        for symbol in (0..INSTRUMENTS).map(symbol) {
            let weights: [f64; 5] = std::array::from_fn(|_| 0.5 + random.next());
            let quintile_probabilities = weights.map(|w| w / weights.iter().sum::<f64>());
            if symbol.as_str() != "VIX" {
                ranks.push(RankRow { as_of, symbol: symbol.clone(), quintile_probabilities });
            }
            add_rows(&mut forecasts, (as_of, &symbol), &mut random);
        }
    }
    Forecasts { ranks: BTreeMap::from([(20, ranks)]), ..forecasts }
}

fn add_rows(forecasts: &mut Forecasts, (as_of, symbol): (Day, &Symbol), random: &mut Congruential) {
    for horizon in [5, 20] {
        let (symbol, root) = (|| symbol.clone(), (horizon as f64).sqrt());
        let sigma = 0.01 * root * (0.5 + random.next());
        forecasts.volatility.push(VolatilityRow { as_of, symbol: symbol(), horizon, sigma });
        for quantile in [0.05, 0.25, 0.5, 0.75, 0.95] {
            let value = (quantile - 0.5) * 0.03 * root * (0.5 + random.next());
            forecasts.quantiles.push(QuantileRow { as_of, symbol: symbol(), horizon, quantile, value });
        }
        let probability_up = 0.3 + 0.4 * random.next();
        forecasts.direction.push(DirectionRow { as_of, symbol: symbol(), horizon, probability_up });
    }
}

fn card() -> Scorecard {
    score(&forecasts(), &market(), None).unwrap()
}

fn close(name: &str, values: &[f64], expected: &[f64]) {
    assert_eq!(values.len(), expected.len(), "{name}");
    for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
        assert!((value - expected).abs() < 1e-6, "{name}[{at}]: {value} is not {expected}");
    }
}

/// Mean and median loss, then benchmark loss, skill, statistic and p-value of each benchmark.
fn numbers(report: &LossReport) -> Vec<f64> {
    let compared =
        |c: &Comparison| [c.benchmark_loss, c.skill.unwrap(), c.diebold_mariano.unwrap(), c.p_value_two_sided.unwrap()];
    let own = [report.overall.mean, report.overall.median];
    own.into_iter().chain(report.overall.comparisons.iter().flat_map(compared)).collect()
}

#[test]
fn ranks_agree() {
    let card = card();
    let ranks = &card.ranks[0];
    let report = ranks.ranked_probability_score.as_ref().unwrap();
    assert_eq!((report.overall.days, report.overlap_steps, ranks.skipped.len()), (30, 2, 3));
    let expected = [0.163099066909, 0.162726913080, 0.159521367521, -0.0224277126237, -2.85466344924, 0.00787586753925];
    close("ranks", &numbers(report), &expected);
    close("first days", &[report.days[0].loss, report.days[6].loss], &[0.160055754421, 0.162204974983]);
    close("years", &[report.years[0].loss, report.years[1].loss], &[0.162458497916, 0.166301911877]);
    assert_eq!(report.days.iter().map(|d| d.rows).take(8).collect::<Vec<_>>(), [26, 26, 26, 26, 25, 25, 24, 24]);
    let ic = ranks.information_coefficient.unwrap();
    close("information coefficient", &[ic.mean, ic.statistic.unwrap()], &[-0.056454491939, -1.185134429187]);
    let bin = ranks.calibration.iter().find(|b| b.low == 0.2).unwrap();
    assert_eq!(bin.count, 1208);
    close("calibration", &[bin.mean_probability, bin.share_realized], &[0.224526368790, 0.217715231788]);
}

#[test]
fn volatility_agrees() {
    let card = card();
    let expected = [
        (774, [0.635596272799, 0.600426300112, 0.17637393554, -2.6036859463, -12.6295296815, 9.25457803175e-14]),
        (724, [0.533639534811, 0.474194032332, 0.0535150187108, -8.97177143288, -10.4320257519, 2.50640584326e-11]),
    ];
    let exponential = [
        [0.206590295913, -2.07660275131, -12.327985144, 1.73499541899e-13],
        [0.085202524176, -5.26318926548, -10.154015046, 4.66064333854e-11],
    ];
    let squared = [[1.04850425479, 0.408875154558, -11.3329372626], [0.871193490055, 0.125316880475, -12.8587704779]];
    for (at, score) in card.volatility.iter().enumerate() {
        assert_eq!((score.forecasts, score.scored), (891, expected[at].0));
        let found = numbers(score.qlike.as_ref().unwrap());
        close("qlike", &found, &[expected[at].1.as_slice(), &exponential[at]].concat());
        let report = score.squared_log_error.as_ref().unwrap();
        let rolling = &report.overall.comparisons[0];
        let found = [report.overall.mean, rolling.benchmark_loss, rolling.diebold_mariano.unwrap()];
        close("squared log error", &found, &squared[at]);
    }
}

#[test]
fn quantiles_agree() {
    let card = card();
    let expected = [
        ([0.648155421254, 0.603879609555, -0.073213064990, -9.306440773720, 0.000000000173], 158, 836),
        ([1.299903240895, 1.222115674496, -0.063530564673, -7.228122408184, 0.000000058622], 152, 782),
    ];
    let levels = [
        [0.125598086124, 0.244019138756, 0.502392344498, 0.755980861244, 0.883971291866],
        [0.136828644501, 0.25831202046, 0.524296675192, 0.786445012788, 0.887468030691],
    ];
    for ((score, (pinball, crossing, scored)), below) in card.quantiles.iter().zip(expected).zip(levels) {
        assert_eq!((score.crossing, score.scored), (crossing, scored));
        let report = score.pinball_loss.as_ref().unwrap();
        let c = &report.overall.comparisons[0];
        // The reference's mean over rows; the skill is a ratio of means over days.
        let gaussian = score.quantiles.iter().map(|q| q.gaussian_loss).sum::<f64>() / 5.0;
        let found = [
            report.overall.row_mean,
            gaussian,
            c.skill.unwrap(),
            c.diebold_mariano.unwrap(),
            c.p_value_two_sided.unwrap(),
        ];
        close("pinball", &found, &pinball);
        close("below", &score.quantiles.iter().map(|q| q.share_below).collect::<Vec<_>>(), &below);
    }
    let widest = card.quantiles[1].quantiles[0];
    close("widest", &[widest.loss, widest.gaussian_loss], &[0.715281623478, 0.527840398655]);
}

#[test]
fn intervals_agree() {
    let card = card();
    let wide = &card.quantiles[1].intervals[0];
    let report = wide.interval_score.as_ref().unwrap();
    let c = &report.overall.comparisons[0];
    let found = [wide.level, wide.coverage, wide.gaussian_coverage, 100.0 * wide.mean_width, report.overall.row_mean];
    close("wide", &found, &[0.9, 0.750639386189, 0.891304347826, 12.020643931942, 26.575927781574]);
    let found = [c.skill.unwrap(), c.diebold_mariano.unwrap(), c.p_value_two_sided.unwrap()];
    close("wide test", &found, &[-0.299805418103, -6.350188819457, 0.000000612282]);
    let across = wide.across.coverage.map(|v| v.unwrap());
    close("across", &across, &[0.901639344262, 0.761194029851, 0.603703703704]);
    let over_time = wide.over_time.coverage.map(|v| v.unwrap());
    close("over time", &over_time, &[0.779069767442, 0.739463601533, 0.733840304183]);
    close("spread", &[wide.across.spread, wide.over_time.spread], &[0.297935640559, 0.045229463259]);
    close("years", &[wide.years[0].1, wide.years[1].1], &[0.751533742331, 0.746153846154]);
    let narrow = &card.quantiles[0].intervals[1];
    close("narrow", &[narrow.level, narrow.coverage, narrow.across.spread], &[0.5, 0.511961722488, 0.275981800766]);
}

#[test]
fn direction_agrees() {
    let card = card();
    let brier = [
        [0.268593331754, 0.265464630928, 0.250257595592, -0.073267451157, -4.697632024094, 0.000051003227],
        [0.264432475678, 0.262651741153, 0.250489303929, -0.055663741044, -3.292901295143, 0.002614361959],
    ];
    let others = [
        [0.469665750916, 0.497607655502, -1.486064243687, 0.931368935532],
        [0.494217151849, 0.475703324808, -0.050940496504, 0.520313532080],
    ];
    for ((score, brier), others) in card.direction.iter().zip(brier).zip(others) {
        close("brier", &numbers(score.brier_score.as_ref().unwrap()), &brier);
        let test = score.clark_west.unwrap();
        let found = [score.area_under_curve.unwrap(), score.share_up.unwrap(), test.statistic, test.p_value_one_sided];
        close("direction", &found, &others);
    }
}

#[test]
fn a_benchmark_is_compared_on_shared_rows_and_the_card_renders() {
    let (ours, market) = (forecasts(), market());
    let mut half = ours.clone();
    half.volatility.retain(|r| r.symbol.as_str() < "A13");
    half.quantiles.clear();
    let scored = score(&ours, &market, Some(&half)).unwrap();
    let same = &scored.volatility[0].qlike.as_ref().unwrap().overall.comparisons[2];
    assert_eq!((same.benchmark.as_str(), same.skill, same.diebold_mariano), ("benchmark", Some(0.0), None));
    assert_eq!(scored.quantiles[0].pinball_loss.as_ref().unwrap().overall.comparisons.len(), 1);
    assert_eq!(scored.direction[1].clark_west, card().direction[1].clark_west);
    let text = scored.markdown();
    for title in ["### Ranks over 20", "### Volatility over 5", "### Interval 0.9 over 20", "### Direction over 20"] {
        assert!(text.contains(title), "{title}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
