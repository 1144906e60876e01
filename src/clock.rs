//! What time it is. The system's clock, or, to rehearse months of operation in minutes, a time written in a file. Only a
//! simulated market accepts the latter: no real ledger can be given a false time.

use std::path::PathBuf;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};

static REHEARSAL: OnceLock<PathBuf> = OnceLock::new();

/// Takes the time from a file from now on: one line, RFC 3339. Other programs may replace the file while we run.
pub fn rehearse(file: PathBuf) {
    let _ = REHEARSAL.set(file);
}

/// Whether the time is not the system's.
#[must_use]
pub fn is_rehearsed() -> bool {
    REHEARSAL.get().is_some()
}

/// The time now. A file that cannot be read gives the system's time, which is later than any that is rehearsed.
#[must_use]
pub fn now() -> DateTime<Utc> {
    let written = REHEARSAL.get().and_then(|file| std::fs::read_to_string(file).ok());
    written.and_then(|text| text.trim().parse().ok()).unwrap_or_else(Utc::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_the_system_tells_the_time() {
        assert!(!is_rehearsed());
        assert!((Utc::now() - now()).num_seconds().abs() < 5);
    }
}
