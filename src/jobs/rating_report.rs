//! The rating report: all companies on a day, how such ratings went in the past, and what was not believed of the filings.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Context;

use crate::features::price_basis::PriceBasis;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_order::{OrderYear, order_by_year};
use crate::forecast::rating_record::RatingRecord;
use crate::forecast::rating_sources::RatingSources;
use crate::forecast::rating_walk::RatingWalk;
use crate::forecast::walk::VolatilityWalk;
use crate::jobs::market_value_spots::spot_lines;
use crate::market::horizon::Horizon;
use crate::market::instrument::{InstrumentKind, Symbol};
use crate::rating::probability::Probability;
use crate::rating::rate::{RatingBasis, RatingOpinion, rate};
use crate::rating::scale::Scale;
use crate::rating::term::{RatingSettings, TermRating};
use crate::rating::transitions::{LETTERS, Transitions};
use crate::rating::variance::EquityVolatility;
use crate::scenario::volatility_inputs::Place;

/// A report to be read, and its table to be computed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingReport {
    /// Markdown.
    pub text: String,
    /// One row an instrument, companies and funds.
    pub csv: String,
}

/// Rates everything at the close of a session with the benchmark's volatility and walks through the past up to it;
/// `settings.sigma_scale` is not read.
///
/// # Errors
/// When no short rate is known, or a text cannot be put together.
pub fn rating_report(
    prepared: &Prepared,
    harx2: &VolatilityWalk,
    settings: &RatingSettings,
    (session, simulated): (usize, bool),
) -> anyhow::Result<RatingReport> {
    let basis = PriceBasis::infer(&prepared.history);
    let sources = RatingSources::new(prepared, &basis);
    let walk = RatingWalk::new(prepared, harx2, settings, session);
    let record = RatingRecord::of(prepared, &walk, session);
    let settings = RatingSettings { sigma_scale: record.calibration.scale(), ..*settings };
    let rows = rated(prepared, &sources, (harx2, session), &settings)?;
    anyhow::ensure!(
        !rows.is_empty(),
        "nothing can be rated on {}: a rating needs a one-year volatility, and the first is fitted after about three years of prices",
        prepared.history.sessions[session]
    );
    let mut text = String::new();
    let day = prepared.history.sessions[session];
    writeln!(
        text,
        "# Ratings on {day}\n\nModel estimates. Not the opinion of a rating agency, not investment advice.{}\n",
        if simulated { " **Simulated companies.**" } else { "" }
    )?;
    write_table(&mut text, &rows)?;
    write_order(&mut text, &order_by_year(prepared, &walk))?;
    write_calibration(&mut text, &record)?;
    writeln!(text, "## Where grades were four quarters later\n")?;
    write_transitions(&mut text, "Ten years", &record.long_term)?;
    write_transitions(&mut text, "One year", &record.short_term)?;
    write_outlooks(&mut text, &record)?;
    write_share_counts(&mut text, &record)?;
    if !simulated {
        writeln!(text, "## Market values against press reports of the day\n")?;
        spot_lines(prepared, &sources, session).into_iter().try_for_each(|line| writeln!(text, "{line}"))?;
    }
    Ok(RatingReport { text, csv: csv(&rows)? })
}

struct Row {
    symbol: Symbol,
    kind: InstrumentKind,
    opinion: RatingOpinion,
    terms: [TermRating; 2],
    reason: String,
}

fn rated(
    prepared: &Prepared,
    sources: &RatingSources<'_>,
    (harx2, session): (&VolatilityWalk, usize),
    settings: &RatingSettings,
) -> anyhow::Result<Vec<Row>> {
    let log_standard_error = harx2.log_error(&prepared.inputs, Horizon::Year, session);
    let volatilities = sources.benchmark_volatilities(harx2, session);
    let mut rows = Vec::new();
    for (i, instrument) in prepared.history.instruments.iter().enumerate() {
        let place = Place { instrument: i, session };
        let volatility = volatilities[i].map(|v| EquityVolatility { log_standard_error, ..v });
        let inputs = sources.inputs(place, volatility).context("no short rate is known on the day")?;
        let opinion = rate(&inputs, settings, Scale::idealized())?;
        let missing = sources.balance_sheet(place).err().map(|e| e.to_string());
        let stated = opinion.basis_reason.map(|r| serde_json::to_value(r).map(|v| v.as_str().map(str::to_owned)));
        let stated = stated.transpose()?.flatten();
        let is_missing = stated.as_deref() == Some("no_filings");
        if let Some((short, long)) = opinion.short_term.zip(opinion.long_term) {
            rows.push(Row {
                symbol: instrument.instrument.symbol.clone(),
                kind: instrument.instrument.kind,
                opinion,
                terms: [short, long],
                reason: missing.filter(|_| is_missing).or(stated).unwrap_or_default(),
            });
        }
    }
    rows.sort_by(|a, b| a.order().total_cmp(&b.order()).then_with(|| a.symbol.cmp(&b.symbol)));
    Ok(rows)
}

impl Row {
    fn order(&self) -> f64 {
        self.terms[1].default_probability.value()
    }

    fn basis(&self) -> &'static str {
        match self.opinion.basis {
            Some(RatingBasis::BalanceSheet) => "balance_sheet",
            Some(RatingBasis::PriceOnly) => "price_only",
            None => "",
        }
    }
}

fn percent(probability: f64) -> String {
    format!("{:.3}", 100.0 * probability)
}

fn model(probability: Option<Probability>) -> String {
    probability.map_or_else(|| "-".to_owned(), |p| percent(p.value()))
}

fn term_cells(term: &TermRating) -> String {
    let interval = term
        .interval
        .map_or_else(|| "-".to_owned(), |i| format!("{} .. {}", percent(i.low.value()), percent(i.high.value())));
    format!("{} | {} | {interval}", term.grade, percent(term.default_probability.value()))
}

fn write_table(text: &mut String, rows: &[Row]) -> anyhow::Result<()> {
    writeln!(
        text,
        "Companies by ten-year probability. Probabilities in percent; sigma, s, mean and b as in the method.\n"
    )?;
    writeln!(
        text,
        "| symbol | 10y | % | 90 % interval | 1y | % | 90 % interval | basis | sigma 1y | sigma 10y | s 10y | mean | b \
         | above already % | CreditGrades 1y % | 10y % | Merton 1y % | 10y % |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for row in rows.iter().filter(|r| r.kind == InstrumentKind::Equity) {
        let [short, long] = &row.terms;
        let Some((one, ten)) = short.drivers.zip(long.drivers) else { continue };
        let basis = if row.reason.is_empty() { row.basis().to_owned() } else { format!("price_only: {}", row.reason) };
        write!(text, "| {} | {} | {} | {basis} ", row.symbol, term_cells(long), term_cells(short))?;
        write!(text, "| {:.3} | {:.3} | {:.3} ", one.equity_volatility, ten.equity_volatility, ten.volatility)?;
        write!(text, "| {:.4} | {:.3} | {} ", ten.mean, ten.barrier, percent(ten.passed_already.value()))?;
        write!(text, "| {} | {} ", model(one.credit_grades), model(ten.credit_grades))?;
        writeln!(text, "| {} | {} |", model(one.merton), model(ten.merton))?;
    }
    Ok(())
}

fn csv(rows: &[Row]) -> anyhow::Result<String> {
    let mut text = String::from(
        "symbol,kind,basis,reason,term_years,grade,default_probability,low,high,calibrated,sigma_factor,equity_volatility,\
         volatility,mean,barrier,passed_already,credit_grades,merton\n",
    );
    for (row, term) in rows.iter().flat_map(|row| row.terms.iter().map(move |term| (row, term))) {
        let number = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.9}"));
        let p = |value: Option<Probability>| number(value.map(Probability::value));
        let (low, high) = term.interval.map(|i| (i.low, i.high)).unzip();
        let d = term.drivers;
        write!(text, "{},{},{},{},", row.symbol, row.kind.as_str(), row.basis(), row.reason)?;
        write!(text, "{},{},{:.9},", term.horizon_years, term.grade, term.default_probability.value())?;
        write!(text, "{},{},{},{},", p(low), p(high), term.calibrated, number(d.map(|d| d.sigma_factor)))?;
        write!(text, "{},{},", number(d.map(|d| d.equity_volatility)), number(d.map(|d| d.volatility)))?;
        write!(text, "{},{},", number(d.map(|d| d.mean)), number(d.map(|d| d.barrier)))?;
        write!(text, "{},", p(d.map(|d| d.passed_already)))?;
        writeln!(text, "{},{}", p(d.and_then(|d| d.credit_grades)), p(d.and_then(|d| d.merton)))?;
    }
    Ok(text)
}

fn write_order(text: &mut String, years: &[OrderYear]) -> anyhow::Result<()> {
    writeln!(text, "\n## Did worse ratings mean more risk in the year after?\n")?;
    writeln!(
        text,
        "Rank correlation across companies at the last session of the year; each rating knows only what was known then.\n"
    )?;
    writeln!(
        text,
        "| year | companies | 10y: volatility | drawdown | 1y: volatility | drawdown | sigma alone: volatility | drawdown |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    let columns = |y: &OrderYear| {
        [
            y.long_term_volatility,
            y.long_term_drawdown,
            y.short_term_volatility,
            y.short_term_drawdown,
            y.forecast_volatility,
            y.forecast_drawdown,
        ]
    };
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    for year in years {
        let cells = columns(year).map(cell).join(" | ");
        writeln!(text, "| {} | {} | {cells} |", year.year, year.companies)?;
    }
    let mean = |k: usize| {
        let known: Vec<f64> = years.iter().filter_map(|y| columns(y)[k]).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let means: [Option<f64>; 6] = std::array::from_fn(mean);
    writeln!(text, "| mean | | {} |\n", means.map(cell).join(" | "))?;
    Ok(())
}

fn write_calibration(text: &mut String, record: &RatingRecord) -> anyhow::Result<()> {
    let fit = &record.calibration.fit;
    writeln!(text, "## Did as many shares lose half of their value within a year as was expected?\n")?;
    let number = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |v| format!("{v:.4}"));
    writeln!(
        text,
        "Closes with dividends and splits; every 21st session. Factor on the one-year volatility now: {:.4} (fitted {}, \
         standard error {}, {} falls in {} rows, {} pairs of instrument and year, {} years).\n",
        fit.factor,
        number(fit.fitted),
        number(fit.standard_error),
        fit.evidence.events,
        fit.evidence.rows,
        fit.evidence.instrument_years,
        fit.evidence.event_years
    )?;
    writeln!(
        text,
        "| year | factor in force | calibrated | rows | falls | predicted % | with factor 1 % | realized % |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for y in record.calibration.by_year.iter().filter(|y| y.rows > 0) {
        let shown = |p: Option<f64>| p.map_or_else(|| "-".to_owned(), |p| format!("{:.2}", 100.0 * p));
        let shares = [y.predicted, y.predicted_without, y.realized].map(shown).join(" | ");
        let calibrated = if y.fit.calibrated { "yes" } else { "no" };
        writeln!(text, "| {} | {:.4} | {calibrated} | {} | {} | {shares} |", y.year, y.fit.factor, y.rows, y.events)?;
    }
    writeln!(text, "\nBy short-term grade, at the ends of quarters:\n")?;
    writeln!(
        text,
        "| grade | ratings | falls | predicted % | realized % | default expected % |\n|---|---|---|---|---|---|"
    )?;
    for g in &record.by_grade {
        let [predicted, realized] = [g.predicted, g.realized].map(|p| 100.0 * p);
        let expected = percent(g.default_probability);
        writeln!(text, "| {} | {} | {} | {predicted:.2} | {realized:.2} | {expected} |", g.grade, g.rows, g.events)?;
    }
    writeln!(text)?;
    Ok(())
}

fn write_transitions(text: &mut String, term: &str, transitions: &Transitions) -> anyhow::Result<()> {
    let kept = transitions.stability().map_or_else(String::new, |(same, near)| {
        format!(": {:.1} % on the same notch, {:.1} % within one", 100.0 * same, 100.0 * near)
    });
    writeln!(text, "{term}{kept}. Percent of those that began in the letter.\n")?;
    writeln!(
        text,
        "| from | ratings | {} | withdrawn |\n|---|---|{}---|",
        LETTERS.join(" | "),
        "---|".repeat(LETTERS.len())
    )?;
    for row in transitions.by_letter().into_iter().filter(|row| row.count > 0) {
        let share = |count: usize| match count {
            0 => String::new(),
            count => format!("{:.1}", 100.0 * count as f64 / row.count as f64),
        };
        let cells = row.to.map(share).join(" | ");
        writeln!(text, "| {} | {} | {cells} | {} |", row.from, row.count, share(row.withdrawn))?;
    }
    writeln!(text)?;
    Ok(())
}

fn write_outlooks(text: &mut String, record: &RatingRecord) -> anyhow::Result<()> {
    writeln!(text, "## Outlooks, and the ten-year grade four quarters later\n")?;
    writeln!(text, "| outlook | given | rated later | better % | worse % |\n|---|---|---|---|---|")?;
    for o in &record.outlooks {
        let share = |count: usize| 100.0 * count as f64 / o.followed.max(1) as f64;
        let (better, worse) = (share(o.upgraded), share(o.downgraded));
        writeln!(text, "| {:?} | {} | {} | {better:.1} | {worse:.1} |", o.outlook, o.count, o.followed)?;
    }
    writeln!(text)?;
    Ok(())
}

fn write_share_counts(text: &mut String, record: &RatingRecord) -> anyhow::Result<()> {
    writeln!(text, "## Share counts that were refused, repaired, or taken for the first after a split\n")?;
    let mut counts: BTreeMap<(&str, &Symbol), usize> = BTreeMap::new();
    for report in &record.share_counts {
        *counts.entry((report.finding.as_str(), &report.symbol)).or_default() += 1;
    }
    let mut by_finding: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((finding, symbol), count) in counts {
        by_finding.entry(finding).or_default().push(format!("{symbol} {count}"));
    }
    for (finding, symbols) in by_finding {
        writeln!(text, "- {finding}: {}", symbols.join(", "))?;
    }
    writeln!(text)?;
    Ok(())
}
