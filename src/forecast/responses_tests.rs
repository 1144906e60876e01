//! What is learnt from games knows nothing later, and finds what is there.

use crate::decision::action::Action;
use crate::features::sample_history::{Sample, sample};
use crate::forecast::past_games::{PastRequest, Realized, past_games};
use crate::forecast::prepared::Prepared;
use crate::forecast::responses::{Contest, Learnt, learn, served_actions};
use crate::forecast::settings::ForecastSettings;
use crate::forecast::state::ModelState;
use crate::forecast::training::{FitRequest, fit_benchmarks};
use crate::learning::recipe::Recipe;
use crate::market::horizon::Horizon;

const SESSIONS: usize = 1100;

fn prepared(sessions: usize) -> Prepared {
    let history = sample(&Sample { sessions: SESSIONS, ..Sample::default() });
    Prepared::new(history.until(history.sessions[sessions - 1]))
}

fn benchmarks(prepared: &Prepared, until: usize) -> ModelState {
    let recipe = Recipe { members: 0, ..Recipe::new() };
    let settings = ForecastSettings::default();
    let request = FitRequest { settings, recipe: &recipe, data_hash: String::new(), horizons: &Horizon::ALL };
    fit_benchmarks(prepared, &request, until)
}

fn past<'a>(prepared: &'a Prepared, benchmarks: &'a ModelState, until: usize) -> PastRequest<'a> {
    PastRequest { prepared, benchmarks, recipe: None, members: 0, until }
}

fn learnt(prepared: &Prepared, until: usize) -> Learnt {
    let benchmarks = benchmarks(prepared, until);
    learn(&past(prepared, &benchmarks, until), &ForecastSettings::default()).unwrap()
}

#[test]
fn nothing_later_is_learnt() {
    let all = prepared(SESSIONS);
    for until in [905, 1000] {
        let (known, cut) = (learnt(&all, until), learnt(&prepared(until + 1), until));
        assert_eq!(known.comparisons, cut.comparisons);
        assert_eq!(known.responses.standings, cut.responses.standings);
        assert_eq!(known.responses.reward, cut.responses.reward);
        let of = |learnt: &Learnt| -> Vec<_> { learnt.responses.confidence.clone().into_iter().collect() };
        // Instruments that came later are in one of the two only.
        let (known, cut) = (of(&known), of(&cut));
        assert!(cut.iter().all(|entry| known.contains(entry)), "confidence at {until}");
        assert!(cut.iter().flat_map(|(_, c)| c).any(|c| c.hold.is_some()), "some confidence is known at {until}");
    }
}

#[test]
fn games_and_served_actions_know_nothing_later() {
    let (all, cut) = (prepared(SESSIONS), prepared(951));
    let settings = ForecastSettings::default();
    let of = |prepared: &Prepared, until: usize| {
        let state = benchmarks(prepared, until);
        let games = past_games(&past(prepared, &state, until), &[Horizon::OneWeek]).unwrap().remove(0);
        let contest = Contest::of(prepared, &games, until).unwrap();
        (served_actions(&games, Some(&contest), &settings), contest.standings(until))
    };
    let ((served_all, _), (served_cut, standings)) = (of(&all, SESSIONS - 1), of(&cut, 950));
    assert_eq!(served_all[..served_cut.len()], served_cut);
    assert!(served_cut.iter().flatten().any(|a| *a != Action::Hold), "some action is not hold");
    assert!(standings.games > 0 && standings.last_quarter.is_some());
    let contest_all = {
        let state = benchmarks(&all, SESSIONS - 1);
        let games = past_games(&past(&all, &state, SESSIONS - 1), &[Horizon::OneWeek]).unwrap().remove(0);
        Contest::of(&all, &games, SESSIONS - 1).unwrap()
    };
    assert_eq!(contest_all.standings(950), standings, "games that were not known by then do not count");
    assert!(contest_all.changes().windows(2).all(|w| w[0] < w[1]));
}

#[test]
fn whoever_stops_trading_counts_at_the_last_price() {
    let mut history = sample(&Sample { sessions: 700, ..Sample::default() });
    let instrument = &mut history.instruments[0];
    for t in 603..700 {
        (instrument.close[t], instrument.log_return[t]) = (f64::NAN, f64::NAN);
    }
    instrument.log_return[602] = -0.9;
    let prepared = Prepared::new(history);
    let fell = Realized::after(&prepared, 0, (600, Horizon::FourWeeks), 699).unwrap();
    let returns = [prepared.history.instruments[0].log_return[601], -0.9];
    assert!((fell.simple_return - (returns.iter().sum::<f64>().exp() - 1.0)).abs() < 1e-12);
    assert!((fell.variance - returns.iter().map(|r| r * r).sum::<f64>()).abs() < 1e-12);
    assert_eq!(Realized::after(&prepared, 0, (600, Horizon::FourWeeks), 619), None, "it has not matured");
    let still = Realized::after(&prepared, 0, (620, Horizon::OneWeek), 699).unwrap();
    assert_eq!((still.simple_return, still.variance), (0.0, 0.0));
}
