//! The record of the reward model: fitted before each year, judged on the year.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluation::paired_tests::{TestResult, diebold_mariano};
use crate::learning::reward::{RewardError, RewardPair, RewardSettings, RewardTable};
use crate::learning::reward_tally::{CELLS, DUELS, Tally};
use crate::learning::reward_training::{constant_table, fit_network};
use crate::learning::task::STATES;
use crate::learning::threads::side_by_side;
use crate::market::horizon::Horizon;

/// Quarters of known comparisons that a first fit needs.
pub const FIRST_TRAINING_QUARTERS: usize = 8;
/// One-sided level at which the network takes the place of the benchmark.
pub const SERVED_BELOW: f64 = 0.05;
/// Sessions in a quarter.
const QUARTER_SESSIONS: usize = 63;

/// How the network and the benchmark did on some comparisons that neither was fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RewardScores {
    /// Comparisons judged.
    pub comparisons: u64,
    /// Those that were not ties.
    pub non_ties: u64,
    /// Share of the non-ties whose winner the network gave the higher reward, equal rewards counting half, 0..=1;
    /// `None` without non-ties.
    pub accuracy: Option<f64>,
    /// The same of the benchmark.
    pub constant_accuracy: Option<f64>,
    /// Mean of `-ln sigmoid(r_w - r_l)` of the network, ties as half wins; ln 2 is a coin's. `None` without comparisons.
    pub log_loss: Option<f64>,
    /// The same of the benchmark.
    pub constant_log_loss: Option<f64>,
}

/// The scores of one calendar year.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RewardYear {
    /// The year.
    pub year: i32,
    /// Comparisons that were known before it began, on which both were fitted.
    pub training_comparisons: u64,
    /// Quarters of these.
    pub training_quarters: usize,
    /// How they did.
    #[serde(flatten)]
    pub scores: RewardScores,
}

/// A test of the network against the benchmark, one number a quarter (Diebold and Mariano 1995).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RewardTest {
    /// The statistic; above 0 the network was better.
    pub statistic: f64,
    /// Probability of a larger statistic without skill.
    pub p_value: f64,
    /// Quarters.
    pub quarters: usize,
}

/// Years out of sample, and what they say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardRecord {
    /// Year by year.
    pub years: Vec<RewardYear>,
    /// All years together.
    #[serde(flatten)]
    pub scores: RewardScores,
    /// Test of the log loss; decides. `None` for fewer than three quarters or without any difference.
    pub log_loss_test: Option<RewardTest>,
    /// Test of the accuracy; reported.
    pub accuracy_test: Option<RewardTest>,
    /// Whether the network's rewards are served: a gain in log loss with p < .05.
    pub serves_network: bool,
}

/// Fits on the pairs known at the beginning of each calendar year and judges on that year's pairs. A year counts once
/// [`FIRST_TRAINING_QUARTERS`] quarters were known; horizons that had no comparisons before the year are not judged.
///
/// The tests take the mean gain of each quarter, one-sided, with the small-sample factor of Harvey, Leybourne and Newbold
/// (1997) and lag `ceil(longest horizon / 63) - 1`: 0 up to a quarter.
///
/// # Errors
/// As [`crate::learning::reward::train_reward`].
pub(crate) fn walk_forward(pairs: &[RewardPair], settings: &RewardSettings) -> Result<RewardRecord, RewardError> {
    let plans = plans(pairs);
    let fits = side_by_side(plans.len(), settings.threads, |number| fit(&plans[number].training, settings))?;
    let judged: Vec<(&Plan, Vec<Score>)> = plans.iter().zip(&fits).map(|(plan, fit)| (plan, plan.judge(fit))).collect();
    let years: Vec<RewardYear> = judged.iter().filter_map(|(plan, scores)| plan.year(scores)).collect();
    let quarters: Vec<Score> = judged.into_iter().flat_map(|(_, scores)| scores).collect();
    let steps = quarters.iter().map(|score| score.longest_sessions).max().unwrap_or(0).div_ceil(QUARTER_SESSIONS);
    let test = |gain: fn(&Score) -> Option<f64>| {
        let gains: Vec<f64> = quarters.iter().filter_map(gain).collect();
        diebold_mariano(&gains, steps.max(1)).map(RewardTest::from)
    };
    let log_loss_test = test(Score::log_loss_gain);
    Ok(RewardRecord {
        years,
        scores: total(&quarters).scores(),
        log_loss_test,
        accuracy_test: test(Score::accuracy_gain),
        serves_network: log_loss_test.is_some_and(|test| test.statistic > 0.0 && test.p_value < SERVED_BELOW),
    })
}

/// What one year is judged by.
struct Plan {
    year: i32,
    training: Tally,
    /// The year's comparisons, quarter by quarter.
    quarters: Vec<Tally>,
}

/// Both models before a year.
struct Fit {
    network: RewardTable,
    constant: RewardTable,
}

/// Sums over some comparisons, network first, benchmark second.
#[derive(Debug, Clone, Copy, Default)]
struct Score {
    comparisons: u64,
    non_ties: u64,
    hits: [f64; 2],
    losses: [f64; 2],
    longest_sessions: usize,
}

fn plans(pairs: &[RewardPair]) -> Vec<Plan> {
    let mut years: BTreeMap<i32, BTreeMap<i32, Vec<&RewardPair>>> = BTreeMap::new();
    for pair in pairs {
        years.entry(pair.quarter.div_euclid(4)).or_default().entry(pair.quarter).or_default().push(pair);
    }
    let plan = |(year, quarters): (i32, BTreeMap<i32, Vec<&RewardPair>>)| Plan {
        year,
        training: Tally::of(pairs.iter().filter(|pair| pair.known_from <= 4 * year)),
        quarters: quarters.into_values().map(Tally::of).collect(),
    };
    years.into_iter().map(plan).filter(|plan| plan.training.quarters() >= FIRST_TRAINING_QUARTERS).collect()
}

fn fit(training: &Tally, settings: &RewardSettings) -> Result<Fit, RewardError> {
    let constant = constant_table(training);
    Ok(Fit { network: fit_network(training, &constant, settings)?, constant })
}

impl Plan {
    fn judge(&self, fit: &Fit) -> Vec<Score> {
        self.quarters.iter().map(|quarter| judge(quarter, fit)).filter(|score| score.comparisons > 0).collect()
    }

    fn year(&self, quarters: &[Score]) -> Option<RewardYear> {
        let scores = total(quarters).scores();
        (scores.comparisons > 0).then(|| RewardYear {
            year: self.year,
            training_comparisons: self.training.count(),
            training_quarters: self.training.quarters(),
            scores,
        })
    }
}

fn judge(tally: &Tally, fit: &Fit) -> Score {
    let mut score = Score::default();
    for at in 0..CELLS {
        let (state, horizon) = ((at % STATES) as u8, Horizon::ALL[at / STATES]);
        let rewards = [&fit.network, &fit.constant].map(|table| table.rewards(state, horizon));
        let [Some(network), Some(constant)] = rewards else { continue };
        for ([first, second], outcomes) in DUELS.into_iter().zip(tally.cell(at)).filter(|(_, duel)| duel.count() > 0) {
            score.comparisons += outcomes.count();
            score.non_ties += outcomes.first + outcomes.second;
            score.longest_sessions = score.longest_sessions.max(horizon.sessions());
            for (model, rewards) in [network, constant].into_iter().enumerate() {
                let difference = rewards[first] - rewards[second];
                score.losses[model] += outcomes.loss(difference);
                score.hits[model] += outcomes.hits(difference);
            }
        }
    }
    score
}

fn total(scores: &[Score]) -> Score {
    scores.iter().fold(Score::default(), |sum, score| Score {
        comparisons: sum.comparisons + score.comparisons,
        non_ties: sum.non_ties + score.non_ties,
        hits: [0, 1].map(|model| sum.hits[model] + score.hits[model]),
        losses: [0, 1].map(|model| sum.losses[model] + score.losses[model]),
        longest_sessions: sum.longest_sessions.max(score.longest_sessions),
    })
}

impl Score {
    fn scores(&self) -> RewardScores {
        let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
        RewardScores {
            comparisons: self.comparisons,
            non_ties: self.non_ties,
            accuracy: mean(self.hits[0], self.non_ties),
            constant_accuracy: mean(self.hits[1], self.non_ties),
            log_loss: mean(self.losses[0], self.comparisons),
            constant_log_loss: mean(self.losses[1], self.comparisons),
        }
    }

    fn log_loss_gain(&self) -> Option<f64> {
        let scores = self.scores();
        Some(scores.constant_log_loss? - scores.log_loss?)
    }

    fn accuracy_gain(&self) -> Option<f64> {
        let scores = self.scores();
        Some(scores.accuracy? - scores.constant_accuracy?)
    }
}

impl From<TestResult> for RewardTest {
    fn from(result: TestResult) -> Self {
        let TestResult { statistic, p_value_one_sided, observations, .. } = result;
        Self { statistic, p_value: p_value_one_sided, quarters: observations }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision::action::{Action, PerAction};
    use crate::learning::reward_planted::{FIRST_YEAR, Planted, by_state};
    use crate::learning::task::HORIZONS;

    fn quick() -> RewardSettings {
        RewardSettings { epochs: 4, learning_rate: 0.1, ..RewardSettings::default() }
    }

    fn planted() -> Planted {
        Planted { quarters: 20, per_quarter: 60, ..Planted::usual(by_state) }
    }

    #[test]
    fn years_are_judged_after_eight_quarters() {
        let record = walk_forward(&planted().pairs(1), &quick()).unwrap();
        let years: Vec<_> =
            record.years.iter().map(|y| (y.year, y.training_quarters, y.training_comparisons)).collect();
        assert_eq!(years, [(FIRST_YEAR + 2, 8, 480), (FIRST_YEAR + 3, 12, 720), (FIRST_YEAR + 4, 16, 960)]);
        let sums = |of: fn(&RewardScores) -> u64| record.years.iter().map(|year| of(&year.scores)).sum::<u64>();
        assert_eq!((sums(|s| s.comparisons), sums(|s| s.non_ties)), (720, record.scores.non_ties));
        assert_eq!(record.log_loss_test.unwrap().quarters, 12);
        let late: Vec<_> =
            planted().pairs(1).into_iter().map(|pair| RewardPair { known_from: pair.quarter + 2, ..pair }).collect();
        let record = walk_forward(&late, &quick()).unwrap();
        let years: Vec<_> = record.years.iter().map(|year| (year.year, year.training_quarters)).collect();
        assert_eq!(years, [(FIRST_YEAR + 3, 11), (FIRST_YEAR + 4, 15)]);
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let rewards = |buy: f64| {
            let of_state = [PerAction { sell: -buy, hold: 0.0, buy }; STATES];
            RewardTable::from_fn(|horizon| (horizon < HORIZONS - 1).then_some(of_state))
        };
        let pair = |better, worse, tie, horizon| RewardPair {
            state: 2,
            horizon,
            better,
            worse,
            tie,
            quarter: 8000,
            known_from: 8001,
        };
        let pairs = [
            pair(Action::Buy, Action::Sell, false, Horizon::OneWeek),
            pair(Action::Sell, Action::Hold, false, Horizon::FourWeeks),
            pair(Action::Hold, Action::Buy, true, Horizon::OneWeek),
            // Nothing is known about a year ahead, so nothing is judged.
            pair(Action::Hold, Action::Buy, false, Horizon::Year),
        ];
        let score = judge(&Tally::of(&pairs), &Fit { network: rewards(0.5), constant: rewards(0.0) });
        let scores = score.scores();
        assert_eq!((scores.comparisons, scores.non_ties, score.longest_sessions), (3, 2, 20));
        assert_eq!((scores.accuracy, scores.constant_accuracy), (Some(0.5), Some(0.5)));
        // -ln s(1), -ln s(-.5), and half of -ln s(.5) and of -ln s(-.5).
        let expected = (0.313_261_687_518 + 0.974_076_984_180 + 0.724_076_984_180) / 3.0;
        assert!((scores.log_loss.unwrap() - expected).abs() < 1e-9, "{scores:?}");
        assert!((scores.constant_log_loss.unwrap() - 2f64.ln()).abs() < 1e-12);
        assert!((score.log_loss_gain().unwrap() - (2f64.ln() - expected)).abs() < 1e-9);
        assert_eq!((score.accuracy_gain(), Score::default().accuracy_gain()), (Some(0.0), None));
    }

    /// The record of the years before one.
    fn before(record: &RewardRecord, year: i32) -> Vec<RewardYear> {
        record.years.iter().filter(|scored| scored.year < year).copied().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn later_pairs_change_no_earlier_year(
            seed in any::<u64>(), year in FIRST_YEAR + 2..FIRST_YEAR + 5, dropped in 0.0f64..1.0,
        ) {
            let pairs = planted().pairs(seed);
            let kept = (pairs.len() as f64 * dropped) as usize;
            let turned = |(number, pair): (usize, &RewardPair)| {
                let RewardPair { better, worse, .. } = *pair;
                let later = pair.quarter >= 4 * year;
                let changed = RewardPair { better: worse, worse: better, state: 8 - pair.state, ..*pair };
                (!later || number < kept).then_some(if later { changed } else { *pair })
            };
            let changed: Vec<_> = pairs.iter().enumerate().filter_map(turned).collect();
            let [first, second] = [&pairs, &changed].map(|pairs| walk_forward(pairs, &quick()).unwrap());
            prop_assert_eq!(before(&first, year), before(&second, year));
            prop_assert!(before(&first, year).len() == (year - FIRST_YEAR - 2) as usize);
        }

        #[test]
        fn what_is_not_known_yet_trains_nothing(seed in any::<u64>(), shift in 1i32..9) {
            // Comparisons of the year before the last that are known too late: turning them must not move the last year.
            let last = FIRST_YEAR + 4;
            let with = |turn: bool| -> Vec<RewardPair> {
                let late = |pair: RewardPair| {
                    let is_late = pair.quarter / 4 == last - 1 && pair.state < 5;
                    let known_from = if is_late { (4 * last).max(pair.quarter) + shift } else { pair.known_from };
                    let RewardPair { better, worse, .. } = pair;
                    let [better, worse] = if turn && is_late { [worse, better] } else { [better, worse] };
                    RewardPair { better, worse, known_from, ..pair }
                };
                planted().pairs(seed).into_iter().map(late).collect()
            };
            let [plain, turned] = [false, true].map(|turn| walk_forward(&with(turn), &quick()).unwrap());
            prop_assert_eq!(plain.years.last(), turned.years.last());
            prop_assert!(plain.years != turned.years);
        }
    }
}
