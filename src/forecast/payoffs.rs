//! What strategies would have earned in the games of the past.

use crate::decision::action::{Action, MixedStrategy, PerAction};
use crate::evaluation::payoffs::{HOLD, PayoffTable, StrategyPayoffs};
use crate::forecast::past_games::{PastDay, PastGames, PastRow};
use crate::forecast::prepared::Prepared;
use crate::market::bar::Day;

/// A way to act: what it would have done in a game of the past, knowing nothing later.
pub struct Strategy<'a> {
    /// Its name.
    pub name: &'a str,
    /// Probability of each action; session and row.
    pub choose: &'a dyn Fn(usize, &PastRow) -> MixedStrategy,
}

/// Which decisions are counted.
pub struct PayoffRequest<'a> {
    /// The rows.
    pub prepared: &'a Prepared,
    /// The games.
    pub games: &'a PastGames,
    /// First and last decision day.
    pub between: (Day, Day),
    /// Simple return of cash over the horizon from a session on.
    pub cash: &'a dyn Fn(usize) -> f64,
}

/// Surely that action.
#[must_use]
pub fn surely(action: Action) -> MixedStrategy {
    PerAction::from_fn(|other| if other == action { 1.0 } else { 0.0 })
}

/// Earns with every strategy on every decision day whose horizon does not overlap the one before; `None` without any.
/// Beside the strategies given stand always sell, always hold and always buy.
#[must_use]
pub fn payoff_table(
    request: &PayoffRequest<'_>,
    strategies: &[Strategy<'_>],
    progress: &dyn Fn(Day),
) -> Option<PayoffTable> {
    let always = [("always_sell", Action::Sell), (HOLD, Action::Hold), ("always_buy", Action::Buy)];
    let simple = always.map(|(name, action)| (name, move |_: usize, _: &PastRow| surely(action)));
    let simple = simple.iter().map(|(name, choose)| Strategy { name, choose });
    let all: Vec<Strategy<'_>> =
        strategies.iter().map(|s| Strategy { name: s.name, choose: s.choose }).chain(simple).collect();
    let mut earned: Vec<Earned> = all.iter().map(|s| Earned::new(s.name)).collect();
    let mut days = Vec::new();
    for day in decision_days(request) {
        let decided_on = request.prepared.history.sessions[day.session];
        let rows: Vec<(&PastRow, PerAction<f64>, PerAction<f64>)> =
            day.rows.iter().filter_map(|row| Some((row, row.money()?, row.payoffs()?))).collect();
        if rows.is_empty() {
            continue;
        }
        days.push(decided_on);
        let cash = (request.cash)(day.session);
        for (strategy, earned) in all.iter().zip(&mut earned) {
            earned.add(&rows, cash, &|row| (strategy.choose)(day.session, row));
        }
        progress(decided_on);
    }
    let days_per_year = 252.0 / request.games.horizon.sessions() as f64;
    let strategies = earned.into_iter().map(|e| e.finish()).collect();
    (!days.is_empty()).then_some(PayoffTable { days, overlap: 1, days_per_year, strategies })
}

/// Days a horizon apart, from the first one wanted on.
fn decision_days<'a>(request: &PayoffRequest<'a>) -> impl Iterator<Item = &'a PastDay> {
    let (from, to) = request.between;
    let sessions = &request.prepared.history.sessions;
    let horizon = request.games.horizon.sessions();
    let wanted = request.games.days.iter().filter(move |d| (from..=to).contains(&sessions[d.session]));
    let mut next = 0;
    wanted.filter(move |day| {
        let apart = day.session >= next;
        if apart {
            next = day.session + horizon;
        }
        apart
    })
}

struct Earned {
    payoffs: StrategyPayoffs,
    decisions: f64,
}

impl Earned {
    fn new(name: &str) -> Self {
        let payoffs =
            StrategyPayoffs { name: name.to_owned(), money: vec![], charged: vec![], exposure: 0.0, traded: 0.0 };
        Self { payoffs, decisions: 0.0 }
    }

    fn add(
        &mut self,
        rows: &[(&PastRow, PerAction<f64>, PerAction<f64>)],
        cash: f64,
        choose: &dyn Fn(&PastRow) -> MixedStrategy,
    ) {
        let (mut above_cash, mut after_risk) = (0.0, 0.0);
        for (row, money, charged) in rows {
            let chosen = choose(row);
            let after = PerAction::from_fn(|action| f64::from(row.terms.holder.exposure_after(action)));
            let exposure = after.weighted_by(&chosen);
            above_cash += money.weighted_by(&chosen) - exposure * cash;
            after_risk += charged.weighted_by(&chosen);
            self.payoffs.exposure += exposure;
            self.payoffs.traded += 1.0 - chosen.hold;
        }
        self.decisions += rows.len() as f64;
        self.payoffs.money.push(above_cash / rows.len() as f64);
        self.payoffs.charged.push(after_risk / rows.len() as f64);
    }

    fn finish(mut self) -> StrategyPayoffs {
        self.payoffs.exposure /= self.decisions;
        self.payoffs.traded /= self.decisions;
        self.payoffs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::game::Terms;
    use crate::decision::holder::{Holder, LongRun};
    use crate::features::sample_history::{Sample, sample};
    use crate::forecast::past_games::Realized;
    use crate::market::horizon::Horizon;

    #[test]
    fn strategies_earn_what_their_actions_pay() {
        let prepared = Prepared::new(sample(&Sample { sessions: 100, ..Sample::default() }));
        let row = |simple_return: f64| PastRow {
            instrument: 0,
            state: None,
            terms: Terms { holder: Holder::default(), risk_aversion: 0.5, cost: 0.001, impact: 0.01 },
            long_run: LongRun { mean: 0.004, volatility: 0.08 },
            models: vec![],
            responses: vec![],
            realized: Some(Realized { simple_return, variance: 0.01 }),
        };
        let days = [40, 45, 60, 80].map(|session| PastDay { session, rows: vec![row(0.02), row(-0.04)] });
        let games = PastGames { horizon: Horizon::FourWeeks, players: vec![], days: days.to_vec() };
        let sessions = &prepared.history.sessions;
        let request = PayoffRequest {
            prepared: &prepared,
            games: &games,
            between: (sessions[40], sessions[99]),
            cash: &|_| 0.002,
        };
        let falls = |_: usize, row: &PastRow| {
            surely(if row.realized.unwrap().simple_return < 0.0 { Action::Sell } else { Action::Buy })
        };
        let table = payoff_table(&request, &[Strategy { name: "oracle", choose: &falls }], &|_| {}).unwrap();
        assert_eq!(table.days, [sessions[40], sessions[60], sessions[80]], "horizons do not overlap");
        let by_name = |name: &str| table.strategies.iter().find(|s| s.name == name).unwrap();
        let oracle = by_name("oracle");
        assert!((oracle.money[0] - (2.0 * 0.02 - 0.001 - 2.0 * 0.002 - 0.001) / 2.0).abs() < 1e-15);
        assert!((oracle.charged[0] - (2.0 * 0.02 - 0.001 - 0.25 * 4.0 * 0.01 - 0.001) / 2.0).abs() < 1e-15);
        assert_eq!((oracle.exposure, oracle.traded), (1.0, 1.0));
        let hold = by_name(HOLD);
        assert!((hold.money[1] - (-0.01 - 0.002)).abs() < 1e-15 && hold.traded == 0.0);
        assert_eq!(by_name("always_buy").exposure, 2.0);
    }
}
