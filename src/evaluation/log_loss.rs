//! The logarithmic score of a probability.

/// Probabilities nearer to 0 or 1 than this are taken as this near, so that no single row loses without bound.
pub const PROBABILITY_FLOOR: f64 = 1e-6;

/// Logarithmic score (Good 1952) of one probability in nats, `-ln(p)` of what happened; 0 is perfect, `ln 2` is a coin's.
/// The probability is kept within [`PROBABILITY_FLOOR`] of 0 and 1.
#[must_use]
pub fn log_loss(probability: f64, happened: bool) -> f64 {
    let probability = probability.clamp(PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR);
    -(if happened { probability } else { 1.0 - probability }).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coin_loses_ln_2_and_certainty_is_bounded() {
        assert!((log_loss(0.5, true) - 2f64.ln()).abs() < 1e-15);
        assert!((log_loss(0.25, false) - (4.0f64 / 3.0).ln()).abs() < 1e-15);
        assert!((log_loss(0.0, true) - 1e6f64.ln()).abs() < 1e-9 && log_loss(1.0, true) < 1e-5);
    }
}
