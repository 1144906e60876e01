//! stub
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct Liquidity {
    pub cost: f64,
    pub impact: f64,
    pub dollar_volume: Option<f64>,
    pub borrowed: bool,
}
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct Traded {
    pub dollar_volume: f64,
    pub daily_volatility: f64,
}
#[allow(missing_docs)]
pub fn liquidity(all: &[Option<Traded>], cost: f64, impact: f64) -> Vec<Liquidity> {
    all.iter()
        .map(|t| Liquidity { cost, impact, dollar_volume: t.map(|t| t.dollar_volume), borrowed: t.is_none() })
        .collect()
}
