//! The versions that decide which code may speak for which model.

/// Version of the code, kept with models and entries: the release, and the version of the answers. The part after `+` is
/// raised by hand with every change that gives other bytes for the same inputs, so that a replay names what it needs.
pub const CODE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+3");

/// Version of the stored form of a model's state; another version refuses to load.
pub const STATE_VERSION: u32 = 3;
