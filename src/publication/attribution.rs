//! What moved the served numbers of a day away from their base, in the words of the answers.

use crate::evaluation::attribution::Attribution as Shares;
use crate::features::schema::FactorGroup;
use crate::forecast::attribution::{
    AttributionInputs, Explained, MaskedForecasts, Unattributed, attribute, attribute_volatility,
};
use crate::forecast::day::DayInputs;
use crate::opinion::canonical::finite;
use crate::opinion::numbers::rounded_parts;
use crate::opinion::signal::{Attribution, FactorShare};

/// Numbers besides the volatility that are explained where the network holds their seat, and their names in answers.
const OTHERS: [(Explained, &str); 3] =
    [(Explained::Direction, "probability_up"), (Explained::Mean, "expected_return"), (Explained::Tilt, "tilt")];

/// The attributions of one day and horizon, by instrument of the history.
pub struct DayAttributions {
    volatility: Vec<Result<Attribution, Unattributed>>,
    others: Vec<Vec<Attribution>>,
}

impl DayAttributions {
    /// Explains the volatility of every instrument, and what else of the network is served.
    #[must_use]
    pub fn of_day(day: &DayInputs<'_>, network: Option<&MaskedForecasts>) -> Self {
        let inputs = AttributionInputs {
            prepared: day.prepared,
            harx2: day.state.harx2.in_force(day.prepared.history.sessions[day.session], day.horizon),
            seats: day.state.seats(day.horizon),
            network,
            session: day.session,
            horizon: day.horizon,
            equity_premium: day.state.settings.equity_premium,
        };
        let named = |name: &'static str| move |shares: Shares| shown(name, &shares).ok_or(Unattributed::NoForecast);
        let volatility = attribute_volatility(&inputs).into_iter().map(|a| a.and_then(named("volatility"))).collect();
        let mut others = vec![vec![]; day.prepared.history.instruments.len()];
        for (explained, name) in OTHERS {
            for (list, found) in others.iter_mut().zip(attribute(&inputs, explained)) {
                list.extend(found.and_then(named(name)).ok());
            }
        }
        Self { volatility, others }
    }

    /// What moved the volatility of an instrument, or why that is not known.
    ///
    /// # Errors
    /// [`Unattributed`].
    pub fn volatility(&self, instrument: usize) -> Result<Attribution, Unattributed> {
        self.volatility[instrument].clone()
    }

    /// The same for every other number of the instrument that the network decides.
    #[must_use]
    pub fn others(&self, instrument: usize) -> Vec<Attribution> {
        self.others[instrument].clone()
    }
}

/// The shares such that base and values still sum to the explained number after rounding; `None` when one is not finite.
fn shown(of: &str, shares: &Shares) -> Option<Attribution> {
    let [market, momentum, fundamentals, risk] = shares.values;
    finite(shares.explained())?;
    let [base, values @ ..] = rounded_parts(shares.explained(), [shares.base, market, momentum, fundamentals, risk]);
    let named = FactorGroup::ALL.into_iter().zip(values);
    let factors = named.map(|(group, value)| FactorShare { factor: group.as_str().to_owned(), value });
    Some(Attribution { of: of.to_owned(), base, factors: factors.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opinion::canonical::rounded;

    #[test]
    fn rounded_shares_still_sum_to_the_number() {
        let shares = Shares { base: 0.410_000_4, values: [0.006_000_4, 0.002_000_4, 1e-9, 0.025_000_4] };
        let told = shown("volatility", &shares).unwrap();
        let names: Vec<&str> = told.factors.iter().map(|f| f.factor.as_str()).collect();
        assert_eq!(names, ["market", "momentum", "fundamentals", "risk"]);
        let sum = told.base + told.factors.iter().map(|f| f.value).sum::<f64>();
        assert!((sum - rounded(shares.explained())).abs() < 1e-12);
        assert_eq!(told.factors[2].value, 0.0);
        assert_eq!(shown("volatility", &Shares { base: f64::NAN, values: [0.0; 4] }), None);
    }
}
