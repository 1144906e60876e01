//! Ratings and their record as they are published: nothing null without a reason, nothing lost in writing, old entries
//! still read, and the real BABA worked by hand.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::header::Header;
use super::rating::{Rated, RatingDay, rate_all};
use super::rating_record::rating_record;
use crate::decision::holder::LongRun;
use crate::decision::liquidity::Liquidity;
use crate::features::price_basis::PriceBasis;
use crate::features::sample_history::{Sample, sample};
use crate::forecast::day::InstrumentForecast;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_record::RatingRecord;
use crate::forecast::rating_sources::RatingSources;
use crate::forecast::real_market::real_market;
use crate::forecast::walk::VolatilityWalk;
use crate::market::bar::Day;
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::canonical;
use crate::opinion::chain::Chain;
use crate::opinion::envelope::{Sources, reason};
use crate::opinion::provenance::Provenance;
use crate::opinion::rating::{Outlook, Rating, RatingBasis};
use crate::rating::term::RatingSettings;
use crate::scenario::volatility::VolatilityModel;

struct Published {
    header: Header,
    sources: Sources,
    record: RatingRecord,
    ratings: BTreeMap<String, Rating>,
}

fn header(as_of: Day) -> Header {
    let at = "2024-09-30T21:05:12Z".parse().unwrap();
    let provenance = Provenance {
        inputs_hash: "00".repeat(32),
        known_until: at,
        recorded_until: at,
        recipe: "benchmarks".into(),
        model_sha256: None,
        seed: 7,
        code_version: "test".into(),
        publication: Uuid::nil(),
        promotion: None,
    };
    let model_id = "2024-09-30.00000000".into();
    Header { as_of, published_at: at, simulated: false, model_id, has_network: false, chain: Chain::Live, provenance }
}

/// The benchmark's one-year forecasts, as they are served without a network.
fn forecasts(sources: &RatingSources<'_>, harx2: &VolatilityWalk, session: usize) -> Vec<Option<InstrumentForecast>> {
    let forecast = |v: crate::rating::variance::EquityVolatility| InstrumentForecast {
        mean: 0.05,
        median: 0.0,
        volatility: v.year,
        probability_up: 0.5,
        long_run: LongRun { mean: 0.05, volatility: v.long_run },
        models: vec![],
        liquidity: Liquidity { cost: 0.0005, impact: 0.01, dollar_volume: None, borrowed: true },
        borrowed: false,
    };
    sources.benchmark_volatilities(harx2, session).into_iter().map(|v| v.map(forecast)).collect()
}

fn published(history: History) -> Published {
    let prepared = Prepared::new(history);
    let session = prepared.sessions() - 1;
    let harx2 = VolatilityWalk::fit(&prepared.inputs, VolatilityModel::HarX2, &[Horizon::Year], session);
    let record = RatingRecord::walk(&prepared, &harx2, &RatingSettings::default(), session);
    let basis = PriceBasis::infer(&prepared.history);
    let sources = RatingSources::new(&prepared, &basis);
    let day = RatingDay {
        prepared: &prepared,
        sources: &sources,
        harx2: &harx2,
        record: Some(&record),
        session,
        log_standard_error: Some(0.2),
        equity_premium: 0.05,
    };
    let without = |i| if prepared.universe.is_index(i, session) { reason::NOT_TRADED } else { reason::PRICES_STOPPED };
    let forecasts = forecasts(&sources, &harx2, session);
    let start = std::time::Instant::now();
    let rated = rate_all(&day, &forecasts, without);
    println!("{} ratings in {:.0} ms", rated.len(), start.elapsed().as_secs_f64() * 1e3);
    let header = header(prepared.history.sessions[session]);
    let name = |s: &str| s.to_owned();
    let (mean, volatility, ranks) = (name("equity_premium"), name("harx2"), name("seasonal"));
    let heads = Sources { mean, volatility, ranks, intervals: name("conformal"), direction: name("base_rate") };
    let opinion = |(i, rated): (usize, &Rated)| {
        let symbol = &prepared.history.instruments[i].instrument.symbol;
        (symbol.to_string(), rated.rating(&header, symbol, &heads, None))
    };
    let ratings = rated.iter().enumerate().map(opinion).collect();
    Published { header, sources: heads, record, ratings }
}

/// Paths of nulls without a reason at their path or above it, and of reasons at a value.
fn unexplained(value: &Value, reasons: &Value, path: &str, found: &mut Vec<String>) {
    let keys = reasons.as_object().unwrap();
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                unexplained(inner, reasons, &inner_path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| unexplained(item, reasons, path, found)),
        Value::Null if path.ends_with(".reason") => {}
        Value::Null if !keys.keys().any(|k| path == k || path.starts_with(&format!("{k}."))) => {
            found.push(path.to_owned());
        }
        _ => {}
    }
}

fn check<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq>(opinion: &T) {
    canonical(opinion).unwrap();
    let value = serde_json::to_value(opinion).unwrap();
    let mut found = vec![];
    unexplained(&value, &value["reasons"], "", &mut found);
    assert!(found.is_empty(), "{found:?} in {value}");
    for path in value["reasons"].as_object().unwrap().keys().filter(|p| *p != "balance_sheet") {
        let at = path.split('.').try_fold(&value, |at, name| at.get(name));
        assert!(at.is_none_or(Value::is_null), "{path} has a value and a reason in {value}");
    }
}

fn long_sample() -> History {
    sample(&Sample { seed: 5, sessions: 1900, instruments: 14, ranges: true, surroundings: true })
}

#[test]
fn every_rating_is_complete_or_says_why() {
    let published = published(long_sample());
    published.ratings.values().for_each(check);
    let company = &published.ratings["TEST5"];
    assert_eq!(company.basis, Some(RatingBasis::BalanceSheet));
    assert!(company.outlook.is_some() && company.components.is_some() && !company.history.is_empty());
    assert!(company.history.windows(2).all(|w| w[0].as_of > w[1].as_of && w[0].walk_forward));
    let explanation = company.explanation.as_ref().unwrap();
    let accounts = explanation.accounts.as_ref().unwrap();
    assert!(accounts.debt_known && accounts.exchange_rate == 1.0);
    let (term, rating) = (explanation.long_term.as_ref().unwrap(), company.long_term.as_ref().unwrap());
    let below = |cut: Option<f64>| cut.is_none_or(|cut| cut <= rating.default_probability + 1e-6);
    assert!(below(term.better_below) && term.worse_from.is_none_or(|cut| rating.default_probability < cut + 1e-6));
    assert_eq!(term.by_benchmark, Some(rating.default_probability), "the benchmark is served");
    assert!(term.credit_grades.is_some() && term.merton.is_some());
    let (fund, index, stopped) = (&published.ratings["SPY"], &published.ratings["VIX"], &published.ratings["TEST4"]);
    assert_eq!((fund.basis, &fund.components), (Some(RatingBasis::PriceOnly), &None));
    assert_eq!(fund.envelope.reasons["components"], "fund");
    assert_eq!(index.envelope.reasons["outlook"], "not_rated");
    assert_eq!((&stopped.long_term, stopped.outlook), (&None, None));
    assert_eq!(stopped.history[0].long_term, None, "withdrawn");
    assert_eq!(published.ratings["TEST0"].envelope.reasons["components"], "no_filings");
}

#[test]
fn the_record_is_complete_and_filed_for_the_whole_universe() {
    let published = published(long_sample());
    let record = rating_record(&published.header, &published.record, &published.sources);
    check(&record);
    assert_eq!(record.envelope.reasons["symbol"], reason::WHOLE_UNIVERSE);
    assert_eq!(record.by_grade.len(), published.record.by_grade.len());
    assert!(record.transitions.long_term.letters.iter().all(|row| row.to.len() == 9));
    assert_eq!(record.outlooks.len(), 3);
    let empty = RatingRecord { quarters: vec![], long_term: Default::default(), ..published.record };
    check(&rating_record(&published.header, &empty, &published.sources));
}

#[test]
fn entries_from_before_history_and_explanation_are_read() {
    let published = published(long_sample());
    let mut old = serde_json::to_value(&published.ratings["TEST5"]).unwrap();
    let fields = old.as_object_mut().unwrap();
    fields.remove("history");
    fields.remove("explanation");
    let read: Rating = serde_json::from_value(old).unwrap();
    assert_eq!((read.history.len(), &read.explanation), (0, &None));
    assert_eq!(read.long_term, published.ratings["TEST5"].long_term);
}

#[test]
fn real_ratings_are_complete_and_baba_is_as_by_hand() {
    let Some(history) = real_market() else { return };
    let published = published(history);
    published.ratings.values().for_each(check);
    check(&rating_record(&published.header, &published.record, &published.sources));
    let counts = |outlook| published.ratings.values().filter(|r| r.outlook == Some(outlook)).count();
    println!("{:?}", [Outlook::Positive, Outlook::Stable, Outlook::Negative].map(counts));
    let bytes: usize = published.ratings.values().map(|r| canonical(r).unwrap().len()).sum();
    println!("{} entries of {bytes} bytes", published.ratings.len());
    println!("{}", canonical(&rating_record(&published.header, &published.record, &published.sources)).unwrap().len());
    for symbol in ["BABA", "F", "BKNG", "SPY", "AAPL"] {
        let r = &published.ratings[Symbol::parse(symbol).unwrap().as_str()];
        println!("{symbol} {}", serde_json::to_string_pretty(&(&r.components, &r.explanation, &r.outlook)).unwrap());
    }
    let baba = published.ratings["BABA"].explanation.as_ref().unwrap();
    let accounts = baba.accounts.as_ref().unwrap();
    // 19,469,126,956 ordinary shares, 8 for one depositary share, at 106.12 dollars; assets less equity in CNY.
    assert!((accounts.units - 19_469_126_956.0 / 8.0).abs() < 1.0);
    assert!((accounts.market_value / (accounts.units * 106.12) - 1.0).abs() < 1e-4);
    let liabilities = (1_764_829.0 - 986_544.0) * 1e6 * accounts.exchange_rate;
    assert!((accounts.liabilities / liabilities - 1.0).abs() < 1e-4);
    assert_eq!((accounts.filing_currency.as_str(), accounts.currency.as_str()), ("CNY", "USD"));
}
