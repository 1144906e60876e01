//! What each factor group contributes to a served number of an instrument: its Shapley values over the sixteen sets of
//! known groups. A group that is not known takes its training mean, in the network's inputs and in harX2's regressors.

use std::ops::Range;

use crate::evaluation::attribution::{Attribution, COALITIONS, PLAYERS, coalition, shapley4};
use crate::features::schema::{FactorGroup, FeatureSchema};
use crate::features::table::FeatureTable;
use crate::forecast::day::NetworkDay;
use crate::forecast::prepared::Prepared;
use crate::forecast::state::Seats;
use crate::learning::ensemble::{ForecastError, TrainedModel};
use crate::learning::forecast::{HorizonForecast, RowForecast};
use crate::market::horizon::{Horizon, SESSIONS_PER_YEAR};
use crate::scenario::ranks::tilt_of;
use crate::scenario::volatility::{PooledVolatility, VolatilityForecast};

/// Columns of each group of features, in the order of [`FactorGroup::ALL`], which is that of the parts.
pub type GroupColumns = [Range<usize>; PLAYERS];

/// What the ensemble says on one day for each set of known groups.
#[derive(Debug, Clone)]
pub struct MaskedForecasts {
    /// By set of known groups, see [`coalition`]; then by instrument of the history.
    by_set: Vec<Vec<Option<RowForecast>>>,
}

/// The number that is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explained {
    /// Volatility, annualized: harX2, corrected by the network where it holds the seat.
    Volatility,
    /// Probability of a positive return; only where the network holds the seat.
    Direction,
    /// What the tilt adds to the chance of the best fifth, before clipping; only where it has a weight.
    Tilt,
    /// Expected simple return over the horizon; only where the network's mean has a weight.
    Mean,
}

/// Why a number has no attribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unattributed {
    /// The instrument has no forecast on the day.
    #[error("no_forecast")]
    NoForecast,
    /// The benchmark in force is an average, or its fit was stored without the means of its regressors.
    #[error("no_training_means")]
    NoTrainingMeans,
    /// The benchmark holds the seat of the head, and it rests on no feature.
    #[error("no_seat")]
    NoSeat,
}

/// The served numbers of one day and horizon.
#[derive(Clone, Copy)]
pub struct AttributionInputs<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// harX2 in force; `None` when an average stands in for it.
    pub harx2: Option<&'a PooledVolatility>,
    /// Who holds which seat.
    pub seats: &'a Seats,
    /// The network's outputs, if there is one.
    pub network: Option<&'a MaskedForecasts>,
    /// Decision day.
    pub session: usize,
    /// How far ahead.
    pub horizon: Horizon,
    /// Equity premium a year.
    pub equity_premium: f64,
}

/// The columns of each factor group.
#[must_use]
pub fn group_columns(schema: &FeatureSchema) -> GroupColumns {
    FactorGroup::ALL.map(|group| schema.group(group))
}

impl MaskedForecasts {
    /// Asks the network sixteen times, in one call, for every instrument that it was asked about on the day; `said` is
    /// what it said then, `position` the day in the table.
    ///
    /// # Errors
    /// [`ForecastError`] when the network does not fit the features.
    pub fn of_day(
        model: &TrainedModel,
        table: &FeatureTable,
        position: usize,
        said: &NetworkDay,
    ) -> Result<Self, ForecastError> {
        let rows: Vec<Option<&[f32]>> =
            said.ensemble.iter().enumerate().map(|(i, row)| row.as_ref().map(|_| table.row(position, i))).collect();
        Self::of_rows(model, &group_columns(&table.schema), &rows)
    }

    /// The same for given rows of features, by instrument.
    ///
    /// # Errors
    /// As [`MaskedForecasts::of_day`].
    pub fn of_rows(
        model: &TrainedModel,
        groups: &GroupColumns,
        rows: &[Option<&[f32]>],
    ) -> Result<Self, ForecastError> {
        let asked: Vec<&[f32]> = rows.iter().flatten().copied().collect();
        let mut features = Vec::with_capacity(COALITIONS * asked.iter().map(|row| row.len()).sum::<usize>());
        for set in 0..COALITIONS {
            let unknown = groups.iter().zip(coalition(set)).filter(|(_, known)| !known);
            let columns: Vec<usize> = unknown.flat_map(|(columns, _)| columns.clone()).collect();
            for row in &asked {
                let start = features.len();
                features.extend_from_slice(row);
                // The mean is 0 to the network, and as a finite value it sets no indicator "missing".
                columns.iter().for_each(|&column| features[start + column] = model.scaler.mean[column]);
            }
        }
        let forecasts = model.forecast(&features)?;
        let mut said = forecasts.into_iter();
        let of_set = |_| rows.iter().map(|row| row.and_then(|_| said.next())).collect();
        Ok(Self { by_set: (0..COALITIONS).map(of_set).collect() })
    }

    fn get(&self, known: [bool; PLAYERS], instrument: usize) -> Option<&RowForecast> {
        let set = known.iter().enumerate().map(|(player, known)| usize::from(*known) << player).sum::<usize>();
        self.by_set[set][instrument].as_ref()
    }
}

/// Attributions of the served annualized volatility, by instrument of the history.
#[must_use]
pub fn attribute_volatility(inputs: &AttributionInputs<'_>) -> Vec<Result<Attribution, Unattributed>> {
    attribute(inputs, Explained::Volatility)
}

/// Attributions of a served number, by instrument of the history. Base and parts sum to the number.
///
/// What does not come from features stays as it is: base rates, the equity premium with its beta, the symmetric law of
/// the ranks.
#[must_use]
pub fn attribute(inputs: &AttributionInputs<'_>, explained: Explained) -> Vec<Result<Attribution, Unattributed>> {
    let count = inputs.prepared.history.instruments.len();
    let seats = inputs.seats;
    let seated = match explained {
        Explained::Volatility => true,
        Explained::Direction => seats.direction,
        Explained::Tilt => seats.tilt_weight > 0.0,
        Explained::Mean => seats.mean_weight > 0.0,
    };
    if !seated {
        return vec![Err(Unattributed::NoSeat); count];
    }
    let reads_harx2 = matches!(explained, Explained::Volatility | Explained::Mean);
    let variances = match (reads_harx2, inputs.harx2) {
        (false, _) => vec![Ok(Variances { known: f64::NAN, masked: f64::NAN }); count],
        (true, None) => vec![Err(Unattributed::NoTrainingMeans); count],
        (true, Some(harx2)) => harx2_variances(inputs, harx2),
    };
    let of_instrument = |(instrument, variances): (usize, Result<Variances, Unattributed>)| {
        let number = Number { inputs, explained, instrument, variances: variances? };
        number.is_forecast().then(|| shapley4(|known| number.value(known))).flatten().ok_or(Unattributed::NoForecast)
    };
    variances.into_iter().enumerate().map(of_instrument).collect()
}

/// Mean daily variances of harX2 with its regressors known, and at their training means.
#[derive(Debug, Clone, Copy)]
struct Variances {
    known: f64,
    masked: f64,
}

fn harx2_variances(inputs: &AttributionInputs<'_>, harx2: &PooledVolatility) -> Vec<Result<Variances, Unattributed>> {
    let forecasts = harx2.forecasts(&inputs.prepared.inputs, inputs.session);
    let at_means = harx2.variances_at_means(&inputs.prepared.inputs, inputs.session);
    let pair = |(forecast, masked): (Option<VolatilityForecast>, Option<f64>)| {
        let known = forecast.ok_or(Unattributed::NoForecast)?.daily_variance;
        Ok(Variances { known, masked: masked.ok_or(Unattributed::NoTrainingMeans)? })
    };
    forecasts.into_iter().zip(at_means).map(pair).collect()
}

/// One served number of one instrument as a function of the known groups.
struct Number<'a> {
    inputs: &'a AttributionInputs<'a>,
    explained: Explained,
    instrument: usize,
    variances: Variances,
}

impl Number<'_> {
    /// Whether there is such a number: those of the network need its answer, the others can do without.
    fn is_forecast(&self) -> bool {
        let answered = self.inputs.network.is_some_and(|n| n.get([true; PLAYERS], self.instrument).is_some());
        answered || matches!(self.explained, Explained::Volatility | Explained::Mean)
    }

    fn value(&self, known: [bool; PLAYERS]) -> Option<f64> {
        let AttributionInputs { prepared, seats, session, horizon, equity_premium, .. } = *self.inputs;
        let row = self.inputs.network.and_then(|network| network.get(known, self.instrument));
        let head: Option<&HorizonForecast> = row.map(|row| &row.horizons[horizon.index()]);
        let variance = if known[FactorGroup::Risk as usize] { self.variances.known } else { self.variances.masked };
        Some(match self.explained {
            Explained::Volatility => {
                let correction = head.filter(|_| seats.volatility).map_or(0.0, |head| head.log_variance_correction);
                (variance * SESSIONS_PER_YEAR * correction.exp()).sqrt()
            }
            Explained::Direction => head?.probability_up(prepared.base_rate(session, horizon)),
            Explained::Tilt => seats.tilt_weight * tilt_of(&head?.quintile_probabilities)[4],
            Explained::Mean => {
                let volatility = (variance * horizon.sessions() as f64).sqrt();
                let premium = prepared.mean_without_skill(self.instrument, session, horizon, equity_premium);
                premium + seats.mean_weight * head.map_or(0.0, |head| head.scaled_mean) * volatility
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};
    use crate::features::schema::schema;
    use crate::learning::planted::{FEATURES, samples, small_recipe, trained};
    use crate::scenario::volatility::{VolatilityModel, fit};

    const GROUPS: GroupColumns = [0..1, 1..2, 2..4, 4..6];
    const SEATED: Seats = Seats { volatility: true, direction: true, tilt_weight: 0.25, mean_weight: 0.5 };
    const SESSION: usize = 880;
    const HORIZON: Horizon = Horizon::FourWeeks;

    struct Day {
        prepared: Prepared,
        harx2: PooledVolatility,
        model: TrainedModel,
        rows: Vec<f32>,
    }

    /// A trained network, and one of its rows for every instrument but the last.
    fn day() -> Day {
        let size = Sample { seed: 3, sessions: 900, instruments: 8, ranges: true, surroundings: true };
        let prepared = Prepared::new(sample(&size));
        let harx2 = fit(&prepared.inputs, VolatilityModel::HarX2, HORIZON, SESSION).unwrap();
        let samples = samples(250, 10, 1.0, 1);
        let model = trained(&samples, &small_recipe(), 7).with_shrink([1.0; crate::learning::task::HEADS]);
        let mut rows = samples.features[..(prepared.history.instruments.len() - 1) * FEATURES].to_vec();
        rows[4..FEATURES].fill(f32::NAN);
        Day { prepared, harx2, model, rows }
    }

    impl Day {
        fn asked(&self) -> Vec<Option<&[f32]>> {
            self.rows.chunks_exact(FEATURES).map(Some).chain([None]).collect()
        }

        fn masked(&self) -> MaskedForecasts {
            MaskedForecasts::of_rows(&self.model, &GROUPS, &self.asked()).unwrap()
        }

        fn inputs<'a>(&'a self, network: Option<&'a MaskedForecasts>, seats: &'a Seats) -> AttributionInputs<'a> {
            let (prepared, harx2, equity_premium) = (&self.prepared, Some(&self.harx2), 0.05);
            AttributionInputs { prepared, harx2, seats, network, session: SESSION, horizon: HORIZON, equity_premium }
        }

        /// The served numbers, computed without any mask.
        fn served(&self, instrument: usize) -> [f64; 4] {
            let variance = self.harx2.daily_variance(&self.prepared.inputs, instrument, SESSION).unwrap();
            let sigma = (variance * 20.0).sqrt();
            let mean = self.prepared.mean_without_skill(instrument, SESSION, HORIZON, 0.05);
            let base_rate = self.prepared.base_rate(SESSION, HORIZON);
            let Some(row) = self.asked()[instrument] else {
                return [sigma / HORIZON.years().sqrt(), f64::NAN, f64::NAN, mean];
            };
            let head = self.model.forecast(row).unwrap()[0].horizons[HORIZON.index()];
            let volatility = sigma * (head.log_variance_correction / 2.0).exp() / HORIZON.years().sqrt();
            let tilt = 0.25 * (head.quintile_probabilities[4] - head.quintile_probabilities[0]) / 2.0;
            [volatility, head.probability_up(base_rate), tilt, mean + 0.5 * head.scaled_mean * sigma]
        }
    }

    const NUMBERS: [Explained; 4] = [Explained::Volatility, Explained::Direction, Explained::Tilt, Explained::Mean];

    #[test]
    fn base_and_parts_sum_to_every_served_number() {
        let day = day();
        let masked = day.masked();
        let inputs = day.inputs(Some(&masked), &SEATED);
        let mut checked = 0;
        for (k, explained) in NUMBERS.into_iter().enumerate() {
            for (i, found) in attribute(&inputs, explained).into_iter().enumerate() {
                let Ok(found) = found else { continue };
                let served = day.served(i)[k];
                assert!((found.explained() - served).abs() < 1e-6, "{explained:?} {i}: {found:?} {served}");
                checked += 1;
            }
        }
        assert!(checked >= 4 * 7, "{checked}");
        assert_eq!(attribute_volatility(&inputs), attribute(&inputs, Explained::Volatility));
    }

    #[test]
    fn the_groups_that_carry_the_effect_get_the_parts() {
        let day = day();
        let masked = day.masked();
        let inputs = day.inputs(Some(&masked), &SEATED);
        let size = |explained: Explained, group: usize| -> f64 {
            attribute(&inputs, explained).iter().flatten().map(|found| found.values[group].abs()).sum()
        };
        // Planted: the first feature moves volatility, the second direction, rank and mean.
        for (explained, group, other) in [
            (Explained::Volatility, 0, 1),
            (Explained::Direction, 1, 0),
            (Explained::Tilt, 1, 0),
            (Explained::Mean, 1, 0),
        ] {
            assert!(size(explained, group) > 3.0 * size(explained, other), "{explained:?}");
        }
    }

    #[test]
    fn unknown_groups_take_their_means_and_set_no_indicator() {
        let day = day();
        let masked = day.masked();
        let means = day.model.forecast(&day.model.scaler.mean).unwrap()[0];
        assert!(!day.model.scaler.indicated.is_empty() && day.rows[4].is_nan());
        for i in 0..day.rows.len() / FEATURES {
            assert_eq!(masked.get([false; 4], i), Some(&means));
        }
    }

    #[test]
    fn without_a_network_all_is_risk() {
        let day = day();
        for (i, found) in attribute_volatility(&day.inputs(None, &Seats::default())).into_iter().enumerate() {
            let Ok(found) = found else { continue };
            assert_eq!(found.values[..3], [0.0; 3]);
            let variance = day.harx2.daily_variance(&day.prepared.inputs, i, SESSION).unwrap();
            assert!((found.explained() - (variance * 252.0).sqrt()).abs() < 1e-12);
            // The means of the training rows: an ordinary volatility.
            assert!((0.05..1.0).contains(&found.base), "{found:?}");
        }
    }

    #[test]
    fn what_cannot_be_attributed_says_why() {
        let mut day = day();
        let masked = day.masked();
        let last = day.prepared.history.instruments.len() - 1;
        let all = |found: Vec<Result<Attribution, Unattributed>>, why| found.iter().all(|f| *f == Err(why));
        let none = Seats::default();
        assert!(all(attribute(&day.inputs(Some(&masked), &none), Explained::Mean), Unattributed::NoSeat));
        let found = attribute(&day.inputs(Some(&masked), &SEATED), Explained::Direction);
        assert_eq!(found[last], Err(Unattributed::NoForecast));
        let found = attribute_volatility(&AttributionInputs { session: 10, ..day.inputs(None, &none) });
        assert!(all(found, Unattributed::NoForecast));
        let averaged = AttributionInputs { harx2: None, ..day.inputs(None, &none) };
        assert!(all(attribute_volatility(&averaged), Unattributed::NoTrainingMeans));
        for regression in [&mut day.harx2.with_ranges, &mut day.harx2.without_ranges] {
            regression.as_mut().unwrap().means.clear();
        }
        let found = attribute_volatility(&day.inputs(None, &none));
        assert_eq!(found[0], Err(Unattributed::NoTrainingMeans));
        assert_eq!(Unattributed::NoTrainingMeans.to_string(), "no_training_means");
    }

    #[test]
    fn every_column_belongs_to_one_group() {
        let schema = schema();
        let columns: Vec<usize> = group_columns(&schema).into_iter().flatten().collect();
        assert_eq!(columns, (0..schema.columns.len()).collect::<Vec<_>>());
    }
}
