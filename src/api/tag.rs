//! The groups under which the documentation lists the operations.

/// What is forecast and recommended.
pub const OPINIONS: &str = "opinions";
/// Instruments and their prices.
pub const HISTORY: &str = "history";
/// The hash-chained record of everything that was published.
pub const LEDGER: &str = "ledger";
/// Jobs, models, health, documentation, pages.
pub const OPERATION: &str = "operation";

/// Each group with its description.
pub const ALL: [(&str, &str); 4] = [
    (OPINIONS, "Signals, ratings, rankings, ranks, forecasts and verdicts, as published in the ledger"),
    (HISTORY, "What is known of instruments and prices"),
    (LEDGER, "The append-only, hash-chained record of every opinion"),
    (OPERATION, "Jobs, models, health, documentation and pages for people"),
];
