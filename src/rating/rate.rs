//! The rating of an instrument: from its balance sheet where there is one, else from its price alone.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::credit_grades::credit_grades_default;
use super::first_passage::{Diffusion, UncertainBarrier, uncertain_first_passage};
use super::merton::{MertonInputs, merton_assets};
use super::probability::Probability;
use super::scale::{Grade, Scale, grade};
use super::structure::{CapitalStructure, Recovery};
use super::variance::EquityVolatility;

/// Years of the short-term rating.
pub const SHORT_TERM_YEARS: f64 = 1.0;

/// Years of the long-term rating.
pub const LONG_TERM_YEARS: f64 = 10.0;

/// What is to be rated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A company that is neither bank nor insurer.
    Company,
    /// A bank or insurer, whose deposits and reserves are not debt.
    Financial,
    /// A fund, which has a price but no balance sheet.
    Fund,
    /// A number that cannot be held: not rated.
    Index,
}

/// All that a rating rests on, known at one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatingInputs {
    /// What is rated.
    pub subject: Subject,
    /// Equity and liabilities; `None` where no usable filing is known.
    pub structure: Option<CapitalStructure>,
    /// Volatility of the share; `None` with too little history.
    pub volatility: Option<EquityVolatility>,
    /// Short interest rate a year.
    pub short_rate: f64,
    /// Beta of the share to the market.
    pub beta: f64,
    /// A default is on record: grade C.
    pub defaulted: bool,
}

/// The configured numbers of a rating.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatingSettings {
    /// ERP, expected return of the market above the short rate, a year.
    pub equity_premium: f64,
    /// What creditors recover.
    pub recovery: Recovery,
    /// b of the price-only basis: the fraction of the price now that counts as default, between 0 and 1.
    pub price_barrier: f64,
    /// Correction of the one-year volatility.
    pub sigma_scale: SigmaScale,
    /// Level of the intervals, between 0 and 1.
    pub interval_level: f64,
}

impl Default for RatingSettings {
    fn default() -> Self {
        let sigma_scale = SigmaScale::default();
        Self {
            equity_premium: 0.05,
            recovery: Recovery::default(),
            price_barrier: 0.2,
            sigma_scale,
            interval_level: 0.9,
        }
    }
}

/// The one calibrated number: a factor on the volatility of the one-year first passage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SigmaScale {
    /// The factor, above 0.
    pub factor: f64,
    /// Whether it was fitted to realized drawdowns out of sample.
    pub calibrated: bool,
}

impl Default for SigmaScale {
    /// No correction, not calibrated.
    fn default() -> Self {
        Self { factor: 1.0, calibrated: false }
    }
}

/// Which first passage a rating uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatingBasis {
    /// Assets fall to an uncertain share of the liabilities.
    BalanceSheet,
    /// The price falls to a fixed fraction of itself.
    PriceOnly,
}

/// Why something is not given, or not given on the better basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatingReason {
    /// An index cannot default.
    NotRated,
    /// Too few returns for a volatility.
    InsufficientHistory,
    /// No filing is known.
    NoFilings,
    /// Market value or liabilities are not positive numbers.
    UnusableBalanceSheet,
    /// Deposits and reserves are not debt.
    FinancialCompany,
    /// A fund has no balance sheet.
    Fund,
}

/// The answer: two grades with their probabilities, and what they rest on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatingOpinion {
    /// Over one year; `None` with [`RatingOpinion::reason`].
    pub short_term: Option<TermRating>,
    /// Over ten years; `None` with [`RatingOpinion::reason`].
    pub long_term: Option<TermRating>,
    /// Why there is no grade.
    pub reason: Option<RatingReason>,
    /// Which first passage; `None` without a grade.
    pub basis: Option<RatingBasis>,
    /// Why it is not the balance sheet.
    pub basis_reason: Option<RatingReason>,
}

/// One grade.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TermRating {
    /// The grade of the probability.
    pub grade: Grade,
    /// Within the horizon, under the physical measure.
    pub default_probability: Probability,
    /// From the uncertainty of the volatility; `None` where that is not known.
    pub interval: Option<ProbabilityInterval>,
    /// 1 or 10.
    pub horizon_years: f64,
    /// Whether the probability was calibrated on realized events; never for ten years, which nobody has seen often enough.
    pub calibrated: bool,
    /// The numbers behind it; `None` after a recorded default.
    pub drivers: Option<RatingDrivers>,
}

/// A range of a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityInterval {
    /// Probability that the range covers.
    pub level: f64,
    /// With the lower volatility.
    pub low: Probability,
    /// With the higher volatility.
    pub high: Probability,
}

/// What went into one first passage, and what two other models say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatingDrivers {
    /// Volatility of the share averaged over the horizon, annualized.
    pub equity_volatility: f64,
    /// Volatility of what falls: the assets, or the share itself.
    pub volatility: f64,
    /// Its arithmetic drift a year.
    pub mean: f64,
    /// Mean barrier as a fraction of the value now.
    pub barrier: f64,
    /// CreditGrades, without drift; `None` on the price-only basis.
    pub credit_grades: Option<Probability>,
    /// Merton with the liabilities due at the horizon; `None` on the price-only basis.
    pub merton: Option<Probability>,
}

/// A number outside its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{name} is {value}, outside its range")]
pub struct RatingError {
    /// Which number.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
}

/// Rates.
///
/// # Errors
/// [`RatingError`] when a rate, beta, volatility or setting is not finite or outside its documented range. A missing or
/// impossible balance sheet is no error: the price-only basis answers, with the reason.
pub fn rate(inputs: &RatingInputs, settings: &RatingSettings, scale: &Scale) -> Result<RatingOpinion, RatingError> {
    check(inputs, settings)?;
    if inputs.subject == Subject::Index {
        return Ok(RatingOpinion::without_grade(RatingReason::NotRated));
    }
    let (structure, basis_reason) = usable_structure(inputs);
    let basis = if structure.is_some() { RatingBasis::BalanceSheet } else { RatingBasis::PriceOnly };
    let term: Box<dyn Fn(f64) -> TermRating> = match inputs.volatility {
        _ if inputs.defaulted => Box::new(TermRating::defaulted),
        None => return Ok(RatingOpinion::without_grade(RatingReason::InsufficientHistory)),
        Some(volatility) => {
            let firm = Firm { inputs, settings, structure, volatility };
            Box::new(move |years| firm.term(years, scale))
        }
    };
    Ok(RatingOpinion {
        short_term: Some(term(SHORT_TERM_YEARS)),
        long_term: Some(term(LONG_TERM_YEARS)),
        reason: None,
        basis: Some(basis),
        basis_reason,
    })
}

impl RatingOpinion {
    fn without_grade(reason: RatingReason) -> Self {
        Self { short_term: None, long_term: None, reason: Some(reason), basis: None, basis_reason: None }
    }
}

impl TermRating {
    fn defaulted(years: f64) -> Self {
        Self {
            grade: Grade::C,
            default_probability: Probability::ONE,
            interval: None,
            horizon_years: years,
            calibrated: false,
            drivers: None,
        }
    }
}

fn usable_structure(inputs: &RatingInputs) -> (Option<CapitalStructure>, Option<RatingReason>) {
    match (inputs.subject, inputs.structure) {
        (Subject::Financial, _) => (None, Some(RatingReason::FinancialCompany)),
        (Subject::Fund, _) => (None, Some(RatingReason::Fund)),
        (_, None) => (None, Some(RatingReason::NoFilings)),
        (_, Some(structure)) if !structure.is_sound() => (None, Some(RatingReason::UnusableBalanceSheet)),
        (_, sound) => (sound, None),
    }
}

/// A subject that can be rated.
struct Firm<'a> {
    inputs: &'a RatingInputs,
    settings: &'a RatingSettings,
    structure: Option<CapitalStructure>,
    volatility: EquityVolatility,
}

impl Firm<'_> {
    fn term(&self, years: f64, scale: &Scale) -> TermRating {
        let short_term = years <= SHORT_TERM_YEARS;
        let factor = if short_term { self.settings.sigma_scale.factor } else { 1.0 };
        let equity_volatility = factor * self.volatility.over(years);
        let probability = self.default_probability(equity_volatility, years);
        TermRating {
            grade: grade(probability, years, scale),
            default_probability: probability,
            interval: self.interval(equity_volatility, years),
            horizon_years: years,
            calibrated: short_term && self.settings.sigma_scale.calibrated,
            drivers: Some(self.drivers(equity_volatility, years)),
        }
    }

    fn default_probability(&self, equity_volatility: f64, years: f64) -> Probability {
        let (barrier, diffusion) = self.passage(equity_volatility);
        uncertain_first_passage(barrier, diffusion, years)
    }

    /// What falls, and to where. A drift below 0 counts as 0: only then can more volatility never improve a grade.
    fn passage(&self, equity_volatility: f64) -> (UncertainBarrier, Diffusion) {
        let RatingSettings { recovery, price_barrier, equity_premium, .. } = *self.settings;
        let (share, mean, log_deviation) = match self.structure {
            Some(structure) => (structure.equity_share(recovery), structure.barrier(recovery), recovery.log_deviation),
            None => (1.0, price_barrier, 0.0),
        };
        let drift = (self.inputs.short_rate + self.inputs.beta * share * equity_premium).max(0.0);
        let diffusion = Diffusion { mean: drift, volatility: equity_volatility * share };
        (UncertainBarrier { mean, log_deviation }, diffusion)
    }

    fn interval(&self, equity_volatility: f64, years: f64) -> Option<ProbabilityInterval> {
        let level = self.settings.interval_level;
        let deviations = Normal::standard().inverse_cdf(0.5 + 0.5 * level);
        let spread = (deviations * self.volatility.log_standard_error?).exp();
        let low = self.default_probability(equity_volatility / spread, years);
        let high = self.default_probability(equity_volatility * spread, years);
        Some(ProbabilityInterval { level, low, high })
    }

    fn drivers(&self, equity_volatility: f64, years: f64) -> RatingDrivers {
        let (barrier, diffusion) = self.passage(equity_volatility);
        let recovery = self.settings.recovery;
        let merton = |structure| {
            let inputs = MertonInputs { structure, equity_volatility, rate: self.inputs.short_rate, years };
            merton_assets(inputs).default_probability
        };
        RatingDrivers {
            equity_volatility,
            volatility: diffusion.volatility,
            mean: diffusion.mean,
            barrier: barrier.mean,
            credit_grades: self.structure.map(|s| credit_grades_default(s, recovery, equity_volatility, years)),
            merton: self.structure.map(merton),
        }
    }
}

fn check(inputs: &RatingInputs, settings: &RatingSettings) -> Result<(), RatingError> {
    let positive = f64::MIN_POSITIVE;
    let volatility = |value: fn(&EquityVolatility) -> f64| inputs.volatility.as_ref().map_or(1.0, value);
    let ranges = [
        ("short rate", inputs.short_rate, -1.0, 1.0),
        ("beta", inputs.beta, -100.0, 100.0),
        ("volatility", volatility(|v| v.year), positive, 100.0),
        ("long-run volatility", volatility(|v| v.long_run), positive, 100.0),
        ("half-life", volatility(|v| v.half_life_years), positive, f64::MAX),
        ("standard error", volatility(|v| v.log_standard_error.unwrap_or(0.0)), 0.0, 5.0),
        ("equity premium", settings.equity_premium, 0.0, 1.0),
        ("recovery mean", settings.recovery.mean, positive, 1.0),
        ("recovery deviation", settings.recovery.log_deviation, 0.0, 5.0),
        ("price barrier", settings.price_barrier, positive, 1.0),
        ("sigma scale", settings.sigma_scale.factor, positive, 100.0),
        ("interval level", settings.interval_level, positive, 1.0 - f64::EPSILON),
    ];
    match ranges.into_iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
        Some((name, value, ..)) => Err(RatingError { name, value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn volatility(sigma: f64) -> EquityVolatility {
        EquityVolatility { year: sigma, long_run: sigma, half_life_years: 1.0, log_standard_error: None }
    }

    /// The rough inputs of a hand-worked example: USD per ADS of BABA, with a drift of 8 % on the assets.
    fn worked_by_hand() -> RatingInputs {
        RatingInputs {
            subject: Subject::Company,
            structure: Some(CapitalStructure { equity: 106.0, liabilities: 38.0 }),
            volatility: Some(volatility(0.44)),
            short_rate: 0.08,
            beta: 0.0,
            defaulted: false,
        }
    }

    fn rated(inputs: &RatingInputs) -> RatingOpinion {
        rate(inputs, &RatingSettings::default(), Scale::idealized()).unwrap()
    }

    #[test]
    fn the_example_worked_by_hand_is_reproduced() {
        let opinion = rated(&worked_by_hand());
        let long_term = opinion.long_term.unwrap();
        assert!((long_term.default_probability.value() - 0.099).abs() < 5e-4, "{long_term:?}");
        assert_eq!(long_term.grade, Grade::Ba1);
        assert_eq!(opinion.basis, Some(RatingBasis::BalanceSheet));
        assert!(!long_term.calibrated && long_term.interval.is_none());
    }

    #[test]
    fn each_missing_thing_has_its_reason() {
        let usual = worked_by_hand();
        let zero_debt = CapitalStructure { equity: 106.0, liabilities: 0.0 };
        let table = [
            (RatingInputs { subject: Subject::Financial, ..usual }, RatingReason::FinancialCompany),
            (RatingInputs { subject: Subject::Fund, ..usual }, RatingReason::Fund),
            (RatingInputs { structure: None, ..usual }, RatingReason::NoFilings),
            (RatingInputs { structure: Some(zero_debt), ..usual }, RatingReason::UnusableBalanceSheet),
        ];
        for (inputs, reason) in table {
            let opinion = rated(&inputs);
            assert_eq!((opinion.basis, opinion.basis_reason), (Some(RatingBasis::PriceOnly), Some(reason)));
            assert!(opinion.short_term.is_some() && opinion.reason.is_none());
        }
        assert_eq!(rated(&RatingInputs { subject: Subject::Index, ..usual }).reason, Some(RatingReason::NotRated));
        let young = rated(&RatingInputs { volatility: None, ..usual });
        assert_eq!((young.short_term, young.reason), (None, Some(RatingReason::InsufficientHistory)));
        let defaulted = rated(&RatingInputs { defaulted: true, volatility: None, ..usual });
        assert_eq!(defaulted.short_term.unwrap().grade, Grade::C);
    }

    #[test]
    fn price_only_is_the_first_passage_to_a_fifth() {
        let inputs =
            RatingInputs { structure: None, volatility: Some(volatility(0.4)), short_rate: 0.0, ..worked_by_hand() };
        let short_term = rated(&inputs).short_term.unwrap();
        assert!((short_term.default_probability.value() - 0.000_125_869).abs() < 1e-9);
        assert_eq!(short_term.drivers.unwrap().merton, None);
    }

    #[test]
    fn the_sigma_scale_moves_one_year_only() {
        let scaled = SigmaScale { factor: 1.2, calibrated: true };
        let settings = RatingSettings { sigma_scale: scaled, ..RatingSettings::default() };
        let opinion = rate(&worked_by_hand(), &settings, Scale::idealized()).unwrap();
        let plain = rated(&worked_by_hand());
        assert!(opinion.short_term.unwrap().default_probability > plain.short_term.unwrap().default_probability);
        assert!(opinion.short_term.unwrap().calibrated);
        assert_eq!(opinion.long_term, plain.long_term);
    }

    #[test]
    fn wrong_numbers_are_named() {
        let wrong = RatingInputs { beta: f64::NAN, ..worked_by_hand() };
        assert_eq!(rate(&wrong, &RatingSettings::default(), Scale::idealized()).unwrap_err().name, "beta");
        let wrong = RatingInputs { volatility: Some(volatility(0.0)), ..worked_by_hand() };
        assert_eq!(rate(&wrong, &RatingSettings::default(), Scale::idealized()).unwrap_err().name, "volatility");
    }

    fn grades(opinion: &RatingOpinion) -> [Grade; 2] {
        [opinion.short_term.unwrap().grade, opinion.long_term.unwrap().grade]
    }

    prop_compose! {
        fn any_inputs()(
            equity in 0.1..100.0_f64, liabilities in 0.01..1000.0_f64, has_filings: bool,
            year in 0.03..1.5_f64, long_run in 0.03..1.2_f64, short_rate in -0.02..0.15_f64, beta in -0.5..3.0_f64,
        ) -> RatingInputs {
            RatingInputs {
                structure: has_filings.then_some(CapitalStructure { equity, liabilities }),
                volatility: Some(EquityVolatility { year, long_run, log_standard_error: Some(0.1), ..volatility(1.0) }),
                short_rate,
                beta,
                ..worked_by_hand()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn more_volatility_never_improves_a_grade(inputs in any_inputs(), factor in 1.0..3.0_f64) {
            let calm = inputs.volatility.unwrap();
            let wild = EquityVolatility { year: calm.year * factor, long_run: calm.long_run * factor, ..calm };
            let (now, then) = (rated(&inputs), rated(&RatingInputs { volatility: Some(wild), ..inputs }));
            for (now, then) in grades(&now).into_iter().zip(grades(&then)) {
                prop_assert!(now <= then);
            }
            let interval = now.long_term.unwrap().interval.unwrap();
            let probability = now.long_term.unwrap().default_probability;
            prop_assert!(interval.low <= probability && probability <= interval.high);
        }

        #[test]
        fn more_debt_at_the_same_asset_volatility_never_improves_a_grade(inputs in any_inputs(), factor in 1.0..5.0_f64) {
            prop_assume!(inputs.structure.is_some());
            let (before, recovery) = (inputs.structure.unwrap(), Recovery::default());
            let after = CapitalStructure { liabilities: before.liabilities * factor, ..before };
            let levered = before.equity_share(recovery) / after.equity_share(recovery);
            let share = inputs.volatility.unwrap();
            let volatility = EquityVolatility { year: share.year * levered, long_run: share.long_run * levered, ..share };
            // Beta stays: with more debt the drift of the assets falls, or, for a negative beta, rises towards the rate.
            prop_assume!(inputs.beta >= 0.0 && volatility.year < 100.0 && volatility.long_run < 100.0);
            let then = rated(&RatingInputs { structure: Some(after), volatility: Some(volatility), ..inputs });
            for (now, then) in grades(&rated(&inputs)).into_iter().zip(grades(&then)) {
                prop_assert!(now <= then);
            }
        }
    }
}
