//! Arguments of `drift`.

use clap::Args;

/// How drift is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct DriftArgs {
    /// Sessions that are compared with the training span
    #[arg(long, env = "FORECASTD_DRIFT_SESSIONS", value_name = "N", default_value_t = 63, value_parser = clap::value_parser!(u32).range(10..=252))]
    pub drift_sessions: u32,
    /// Trainings that drift may ask for in 30 days, at most one a week; 0 for none
    #[arg(long, env = "FORECASTD_DRIFT_TRAININGS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=30))]
    pub drift_trainings: u32,
}

impl DriftArgs {
    /// The arguments that give a child process the same.
    #[must_use]
    pub fn arguments(&self) -> [String; 4] {
        [
            "--drift-sessions".into(),
            self.drift_sessions.to_string(),
            "--drift-trainings".into(),
            self.drift_trainings.to_string(),
        ]
    }
}

impl Default for DriftArgs {
    fn default() -> Self {
        Self { drift_sessions: 63, drift_trainings: 2 }
    }
}
