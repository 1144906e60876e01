//! What a model knows besides the network's weights: fitted benchmarks, seats, interval maps, verdicts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluation::verdict::Predictability;
use crate::forecast::rating_record::RatingRecord;
use crate::forecast::responses::Responses;
use crate::forecast::settings::ForecastSettings;
use crate::forecast::walk::VolatilityWalk;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::{NETWORK, Sources};
pub use crate::opinion::version::STATE_VERSION;
use crate::scenario::conformal::QuantileMap;

/// The stored state of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelState {
    /// [`STATE_VERSION`].
    pub version: u32,
    /// Last session that anything here knew.
    pub fitted_until: Day,
    /// Pooled log-HAR.
    pub har: VolatilityWalk,
    /// harX2, the benchmark of the volatility head.
    pub harx2: VolatilityWalk,
    /// What of the network is served, in the order of [`Horizon::ALL`].
    pub seats: [Seats; 5],
    /// Interval maps of the network's volatility, calibrated on its out-of-sample errors.
    pub network_maps: [Option<QuantileMap>; 5],
    /// Standard deviation of the log of realized over forecast one-year volatility, out of sample; `None` while too few
    /// years have matured.
    pub year_log_error: Option<f64>,
    /// What is predictable about each instrument, by the record to [`ModelState::fitted_until`].
    pub verdicts: BTreeMap<Symbol, Predictability>,
    /// What was learnt from the games of the past.
    pub responses: Responses,
    /// The ratings that would have been given, and how they went; `None` for a model stored without them.
    #[serde(default)]
    pub ratings: Option<RatingRecord>,
    /// Configured numbers.
    pub settings: ForecastSettings,
}

/// Which heads of the network are served at one horizon. All zero: benchmarks alone.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Seats {
    /// Its volatility.
    pub volatility: bool,
    /// Its probability of a positive return.
    pub direction: bool,
    /// Weight of its tilt of the ranks, 0..=.25.
    pub tilt_weight: f64,
    /// Weight of its mean, 0..=1.
    pub mean_weight: f64,
}

impl ModelState {
    /// The seats of a horizon.
    #[must_use]
    pub fn seats(&self, horizon: Horizon) -> &Seats {
        &self.seats[horizon.index()]
    }

    /// The same benchmarks with no seat taken.
    #[must_use]
    pub fn benchmarks(&self) -> Self {
        Self {
            version: self.version,
            fitted_until: self.fitted_until,
            har: self.har.clone(),
            harx2: self.harx2.clone(),
            seats: [Seats::default(); 5],
            network_maps: [const { None }; 5],
            year_log_error: self.year_log_error,
            verdicts: BTreeMap::new(),
            responses: Responses::default(),
            ratings: self.ratings.clone(),
            settings: self.settings,
        }
    }
}

impl Seats {
    /// Whether any head of the network is served.
    #[must_use]
    pub fn any(&self) -> bool {
        self.volatility || self.direction || self.tilt_weight > 0.0 || self.mean_weight > 0.0
    }

    /// The winner of each head, by name; `volatility` names the benchmark in force.
    #[must_use]
    pub fn sources(&self, volatility: &str, ranks: &str) -> Sources {
        let pick = |seated: bool, benchmark: &str| if seated { NETWORK } else { benchmark }.to_owned();
        Sources {
            mean: pick(self.mean_weight > 0.0, "equity_premium"),
            volatility: pick(self.volatility, volatility),
            ranks: pick(self.tilt_weight > 0.0, ranks),
            intervals: "conformal".to_owned(),
            direction: pick(self.direction, "base_rate"),
        }
    }
}
