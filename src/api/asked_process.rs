//! What a request for a decision process asks: of whom, and for which holder, cost, discount and steps.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa::IntoParams;

use crate::api::asked::{self, Circumstances, Selection, path_text};
use crate::api::parameters::{self, Parameters};
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::decision::holder::HolderType;
use crate::decision::process::{ENDLESS_DISCOUNT_MAX, ProcessSettings, STEPS_MAX};
use crate::market::instrument::Symbol;
use crate::opinion::canonical::rounded;

const KNOWN: [&str; 9] = ["holder", "cost", "discount", "steps", "as_of", "chain", "fields", "explain", "wait"];
/// The word for a process without an end.
const INFINITE: &str = "infinite";

/// A request for one decision process.
#[derive(Debug, Clone)]
pub struct AskedProcess {
    /// Of whom.
    pub symbol: Symbol,
    /// Which fields.
    pub selection: Selection,
    /// How.
    pub circumstances: Circumstances,
    /// For which settings.
    pub wanted: Wanted,
}

/// The settings that were asked for; `None` takes the published one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wanted {
    holder: Option<HolderType>,
    cost: Option<f64>,
    discount: Option<f64>,
    steps: Option<Steps>,
}

/// How far a process looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    Weeks(u32),
    Infinite,
}

impl<S: Send + Sync> FromRequestParts<S> for AskedProcess {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_text(parts, state).await?;
        let mut parameters = Parameters::read(&parts.uri, &KNOWN);
        let symbol = parameters.place("symbol", &text, Symbol::parse);
        let wanted = Wanted::read(&mut parameters);
        let (selection, circumstances) = asked::read(&mut parameters, parts);
        parameters.finish()?;
        // Without a symbol the reading has just failed.
        let symbol = symbol.ok_or_else(|| Problem::new(ProblemType::NotFound, "no symbol"))?;
        Ok(Self { symbol, selection, circumstances, wanted })
    }
}

impl Wanted {
    fn read(parameters: &mut Parameters) -> Self {
        let wanted = Self {
            holder: parameters.take("holder", holder),
            cost: parameters.take("cost", |t| parameters::number(t, 0.0..=1.0)),
            discount: parameters.take("discount", |t| parameters::number(t, 0.0..=1.0)),
            steps: parameters.take("steps", steps),
        };
        if wanted.steps == Some(Steps::Infinite) && wanted.discount.is_some_and(|d| d > ENDLESS_DISCOUNT_MAX) {
            parameters.refuse("discount", &endless());
        }
        wanted
    }

    /// The published settings where nothing else was asked for, in the decimals of every answer.
    ///
    /// # Errors
    /// 422 when a process without an end would take the published discount and that is too high.
    pub fn over(&self, published: &ProcessSettings) -> Result<ProcessSettings, Problem> {
        let settings = ProcessSettings {
            holder: self.holder.unwrap_or(published.holder),
            cost: self.cost.map_or(published.cost, rounded),
            discount: self.discount.map_or(published.discount, rounded),
            steps: match self.steps {
                None => published.steps,
                Some(Steps::Weeks(count)) => Some(count),
                Some(Steps::Infinite) => None,
            },
        };
        if settings.steps.is_none() && settings.discount > ENDLESS_DISCOUNT_MAX {
            let reason = format!("{}; the published one is {}", endless(), published.discount);
            return Err(Problem::invalid(vec![FieldError::parameter("discount", reason)]));
        }
        Ok(settings)
    }
}

fn endless() -> String {
    format!("must be a number from 0 to {ENDLESS_DISCOUNT_MAX} beside steps=infinite")
}

fn holder(text: &str) -> Result<HolderType, &'static str> {
    match text {
        "holder" => Ok(HolderType::Holder),
        "long_short" => Ok(HolderType::LongShort),
        _ => Err("must be holder or long_short"),
    }
}

fn steps(text: &str) -> Result<Steps, String> {
    if text == INFINITE {
        return Ok(Steps::Infinite);
    }
    let weeks = parameters::integer(text, 1..=i64::from(STEPS_MAX)).ok().and_then(|weeks| u32::try_from(weeks).ok());
    weeks.map(Steps::Weeks).ok_or_else(|| format!("must be a whole number from 1 to {STEPS_MAX}, or {INFINITE}"))
}

/// Documentation of the parameters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct ProcessParameters {
    /// For whom: `holder` owns 0, 1 or 2 units and has 1, `long_short` -1, 0 or 1 and has 0; the published one unless
    /// given.
    #[param(pattern = "^(holder|long_short)$", example = "long_short")]
    holder: Option<String>,
    /// Cost of trading one unit, as a fraction; the published one unless given.
    #[param(minimum = 0, maximum = 1, example = 0.001)]
    cost: Option<f64>,
    /// Worth of a payoff in a week against one now; the published one unless given. At most 0.999 beside `steps=infinite`.
    #[param(minimum = 0, maximum = 1, example = 0.99)]
    discount: Option<f64>,
    /// Weekly steps, 1 to 52, or `infinite`; the published ones unless given.
    #[param(pattern = "^([1-9]|[1-4][0-9]|5[0-2]|infinite)$", example = "infinite")]
    steps: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Uri;

    fn wanted(query: &str) -> Result<Wanted, Vec<(String, String)>> {
        let uri: Uri = format!("/process/BABA?{query}").parse().unwrap();
        let mut parameters = Parameters::read(&uri, &KNOWN);
        let wanted = Wanted::read(&mut parameters);
        let named = |problem: Problem| problem.body("r").errors.into_iter().map(|e| (e.field, e.reason)).collect();
        parameters.finish().map(|()| wanted).map_err(named)
    }

    #[test]
    fn what_is_not_asked_for_is_as_published() {
        let published = ProcessSettings { cost: 0.002, ..ProcessSettings::default() };
        assert_eq!(wanted("").unwrap().over(&published).unwrap(), published);
        let asked = wanted("holder=long_short&discount=0.9&steps=infinite").unwrap().over(&published).unwrap();
        let expected = ProcessSettings { holder: HolderType::LongShort, discount: 0.9, steps: None, ..published };
        assert_eq!(asked, expected);
        assert_eq!(wanted("steps=52&cost=1").unwrap().over(&published).unwrap().steps, Some(52));
        let refused = wanted("steps=infinite").unwrap().over(&published).unwrap_err().body("r");
        assert_eq!(
            refused.errors[0].reason,
            "must be a number from 0 to 0.999 beside steps=infinite; the published one is 1"
        );
    }

    #[test]
    fn every_bad_value_is_refused_with_its_range() {
        let refused = wanted("holder=Holder&cost=1.5&discount=-0.1&steps=53").unwrap_err();
        let expected = [
            ("holder", "must be holder or long_short"),
            ("cost", "must be a number from 0 to 1"),
            ("discount", "must be a number from 0 to 1"),
            ("steps", "must be a whole number from 1 to 52, or infinite"),
        ];
        assert_eq!(refused, expected.map(|(field, reason)| (field.to_owned(), reason.to_owned())));
        for query in ["steps=0", "steps=-1", "steps=4.0", "steps=", "steps=Infinite", "cost=nan", "discount=1e999"] {
            assert_eq!(wanted(query).unwrap_err().len(), 1, "{query}");
        }
        assert_eq!(wanted("steps=infinite&discount=0.9995").unwrap_err()[0].0, "discount");
        assert!(wanted("steps=infinite&discount=0.999").is_ok());
    }
}
