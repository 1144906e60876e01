//! A drift report as a table for people.

use std::fmt::Write as _;

use crate::jobs::drift::DriftReport;
use crate::opinion::drift::{DriftVerdict, FactorDrift};

/// The report in Markdown.
#[must_use]
pub fn drift_text(report: &DriftReport) -> String {
    let universe = &report.universe;
    let model = report.model_id.as_deref().unwrap_or("none");
    let mut text = format!("drift as of {}, model in force: {model}\n\n", report.as_of);
    text.push_str("| factor | stability index | noise level | Kolmogorov-Smirnov | noise level | p | verdict |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for factor in &universe.factors {
        let _ = writeln!(text, "{}", row(factor));
    }
    let _ = write!(
        text,
        "\n{} sessions against {} windows of the training span; {} of {} instruments have a factor that has drifted\n\
         (one in twenty is expected without any change), {} have stopped, {} lack sessions of their last year\n",
        universe.window_sessions,
        universe.windows,
        universe.drifted_instruments,
        universe.instruments,
        universe.stale_instruments,
        universe.instruments_with_gaps
    );
    for measure in &universe.performance.measures {
        let (of, mean, lower, upper) = (&measure.of, measure.mean, measure.lower, measure.upper);
        let _ = writeln!(text, "live {of}: mean gain {mean:.4} in {lower:.4}..{upper:.4} of {}", measure.observations);
    }
    for alarm in &report.alarms {
        let _ = writeln!(text, "ALARM {}: {}", alarm.kind.as_str(), alarm.message);
    }
    let _ = match report.retrain.job_id {
        Some(job_id) => writeln!(text, "asked for a training: job {job_id}"),
        None => writeln!(text, "no training is asked for: {}", report.retrain.reason),
    };
    text
}

fn row(factor: &FactorDrift) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
    let verdict = match factor.verdict {
        Some(DriftVerdict::Stable) => "stable",
        Some(DriftVerdict::Moderate) => "moderate",
        Some(DriftVerdict::Drifted) => "drifted",
        None => factor.reason.as_deref().unwrap_or_default(),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {verdict} |",
        factor.factor,
        number(factor.psi),
        number(factor.psi_noise_level),
        number(factor.kolmogorov_smirnov),
        number(factor.kolmogorov_smirnov_noise_level),
        number(factor.p_value)
    )
}
