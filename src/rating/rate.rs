//! The rating of an instrument: from its balance sheet where there is one, else from its price alone.

use serde::{Deserialize, Serialize};

use super::scale::Scale;
use super::structure::CapitalStructure;
use super::term::{Firm, LONG_TERM_YEARS, RatingSettings, SHORT_TERM_YEARS, TermRating};
use super::variance::EquityVolatility;

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
    /// Which first passage; `None` without a grade or after a recorded default.
    pub basis: Option<RatingBasis>,
    /// Why it is not the balance sheet.
    pub basis_reason: Option<RatingReason>,
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
    if inputs.defaulted {
        return Ok(RatingOpinion::of([SHORT_TERM_YEARS, LONG_TERM_YEARS].map(TermRating::defaulted)));
    }
    let Some(firm) = inputs.firm(settings) else {
        return Ok(RatingOpinion::without_grade(RatingReason::InsufficientHistory));
    };
    let (_, basis_reason) = usable_structure(inputs);
    let basis = if firm.structure.is_some() { RatingBasis::BalanceSheet } else { RatingBasis::PriceOnly };
    let opinion = RatingOpinion::of([SHORT_TERM_YEARS, LONG_TERM_YEARS].map(|years| firm.term(years, scale)));
    Ok(RatingOpinion { basis: Some(basis), basis_reason, ..opinion })
}

impl RatingInputs {
    /// What the first passages of a rating are computed from; `None` without a volatility. Checks no range.
    #[must_use]
    pub fn firm(&self, settings: &RatingSettings) -> Option<Firm> {
        let (structure, _) = usable_structure(self);
        let RatingInputs { short_rate, beta, .. } = *self;
        Some(Firm { structure, volatility: self.volatility?, short_rate, beta, settings: *settings })
    }
}

impl RatingOpinion {
    fn of([short_term, long_term]: [TermRating; 2]) -> Self {
        Self { short_term: Some(short_term), long_term: Some(long_term), reason: None, basis: None, basis_reason: None }
    }

    fn without_grade(reason: RatingReason) -> Self {
        Self { short_term: None, long_term: None, reason: Some(reason), basis: None, basis_reason: None }
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
    use crate::rating::scale::Grade;
    use crate::rating::structure::Recovery;
    use crate::rating::term::SigmaScale;
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
            equity in 1.0..100.0_f64, liabilities in 0.01..50.0_f64, has_filings: bool,
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
            let recovery = Recovery::default();
            let before = inputs.structure.unwrap_or(CapitalStructure { equity: 1.0, liabilities: 1.0 });
            let inputs = RatingInputs { structure: Some(before), ..inputs };
            let after = CapitalStructure { liabilities: before.liabilities * factor, ..before };
            let levered = before.equity_share(recovery) / after.equity_share(recovery);
            let share = inputs.volatility.unwrap();
            let volatility = EquityVolatility { year: share.year * levered, long_run: share.long_run * levered, ..share };
            let then = rated(&RatingInputs { structure: Some(after), volatility: Some(volatility), ..inputs });
            for (now, then) in grades(&rated(&inputs)).into_iter().zip(grades(&then)) {
                prop_assert!(now <= then);
            }
        }
    }
}
