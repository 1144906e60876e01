//! The files that are measured: a real folder where one is named, else a simulated one.

use std::path::PathBuf;

use forecastd::market::bar::Day;

use crate::simulated_folder;

/// A folder to import.
pub struct Data {
    /// `universe.csv`, `prices/`, `factors/` and, of real data, `fundamentals/`.
    pub folder: PathBuf,
    /// Which data it is.
    pub description: String,
    /// Keeps a simulated folder until the end.
    _temporary: Option<tempfile::TempDir>,
}

/// Decision days of the walk; the simulated market spans them too.
pub const WALK: (Day, Day) = match (Day::from_ymd_opt(2016, 1, 1), Day::from_ymd_opt(2024, 8, 31)) {
    (Some(from), Some(to)) => (from, to),
    _ => (Day::MIN, Day::MAX),
};

impl Data {
    /// The folder named by `FORECASTD_TEST_DATA`, or a simulated one in a temporary folder.
    pub fn find() -> anyhow::Result<Self> {
        match std::env::var_os("FORECASTD_TEST_DATA").filter(|v| !v.is_empty()).map(PathBuf::from) {
            Some(folder) => {
                anyhow::ensure!(folder.is_dir(), "FORECASTD_TEST_DATA is {}, which is no folder", folder.display());
                let description = format!("real data in {}", folder.display());
                Ok(Self { folder, description, _temporary: None })
            }
            None => {
                let temporary = tempfile::tempdir()?;
                simulated_folder::write(temporary.path())?;
                let description = "simulated data (FORECASTD_TEST_DATA is not set)".into();
                Ok(Self { folder: temporary.path().to_owned(), description, _temporary: Some(temporary) })
            }
        }
    }

    /// The price files alone.
    pub fn prices(&self) -> PathBuf {
        let prices = self.folder.join("prices");
        if prices.is_dir() { prices } else { self.folder.clone() }
    }
}
