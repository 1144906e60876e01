//! The guarded root finder of this crate: bisection, which cannot leave its bracket.

/// The root of an increasing function between `low` and `high`, to the last bit.
///
/// Halves the bracket until no number lies between its ends and answers the end where the function is nearer to 0.
/// Without a change of sign the answer is the end at which the function comes nearest to it: `low` when the function is
/// already positive there, `high` when it is still negative there. A value that is no number counts as negative.
#[must_use]
pub fn increasing_root(function: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let (mut low, mut high) = (low, high);
    if function(low) >= 0.0 {
        return low;
    }
    loop {
        let middle = low + 0.5 * (high - low);
        if middle <= low || middle >= high {
            break;
        }
        if function(middle) >= 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    if function(high).abs() <= function(low).abs() { high } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_found_to_the_last_bit() {
        assert_eq!(increasing_root(|x| x * x - 2.0, 0.0, 2.0), 2.0_f64.sqrt());
        assert_eq!(increasing_root(|x| x - 1e-300, -1.0, 1.0), 1e-300);
        assert_eq!(increasing_root(|x| x, 0.5, 1.0), 0.5);
        assert_eq!(increasing_root(|x| x, -1.0, -0.5), -0.5);
    }
}
