//! Peak memory of this process, where the system tells it.

use std::fs;

/// Peak resident memory in MiB since the start or the last [`reset_peak`].
pub fn peak_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// Lets the peak start again from what is resident now; `false` where the system does not allow it, and the peak stays
/// that of the whole run.
pub fn reset_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}
