//! The models ranked by what acting on them earned, with the reward model.

use crate::decision::standings::{Standing, Standings};
use crate::evaluation::short_series::SHORT_SERIES_TEST;
use crate::market::horizon::Horizon;
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::{Interval, Kind, Sources};
use crate::opinion::ranking::ModelStrength;
use crate::opinion::responses::{ContestGames, Responses, ResponsesExplanation, RewardModelRecord, StateRewards};
use crate::publication::header::{About, Absent, Header};

/// What the responses are formed from; a reason stands in for what there is not.
#[derive(Debug, Clone, Copy)]
pub struct ResponsesOfDay<'a> {
    /// The horizon.
    pub horizon: Horizon,
    /// Who won each head.
    pub sources: &'a Sources,
    /// The result of the contest.
    pub standings: Result<&'a Standings, &'a str>,
    /// The reward model.
    pub reward_model: Result<&'a RewardModelRecord, &'a str>,
}

/// Reason for a score of a reward model that no later quarter could judge yet.
const TOO_FEW_QUARTERS: &str = "too_few_quarters";

/// Fields that need strengths.
const LEADER: [&str; 2] = ["explanation.strongest", "explanation.lead"];

/// Forms the responses.
#[must_use]
pub fn responses(header: &Header, day: &ResponsesOfDay<'_>) -> Responses {
    let mut absent = Absent::default();
    let standings = day.standings.ok();
    if let Err(why) = day.standings {
        let fields =
            ["models", "games", "tie_parameter", "connected", "explanation.overlap", "explanation.days_minimum"];
        fields.into_iter().chain(LEADER).for_each(|field| absent.because(field, why));
    }
    if let Some(why) = standings.and_then(|s| s.reason) {
        let fields = ["models.strength", "models.interval", "tie_parameter"];
        fields.into_iter().chain(LEADER).for_each(|field| absent.because(field, why.as_str()));
    }
    if let Err(why) = day.reward_model {
        absent.because("reward_model", why);
    }
    if let Ok(record) = day.reward_model {
        let scores = [
            ("reward_model.accuracy", record.accuracy),
            ("reward_model.constant_accuracy", record.constant_accuracy),
            ("reward_model.log_loss", record.log_loss),
            ("reward_model.constant_log_loss", record.constant_log_loss),
            ("reward_model.p_value", record.p_value),
        ];
        let missing = scores.into_iter().filter(|(_, score)| score.is_none());
        missing.for_each(|(field, _)| absent.because(field, TOO_FEW_QUARTERS));
    }
    let about = About { kind: Kind::Responses, symbol: None, horizon: day.horizon, sources: day.sources };
    Responses {
        models: standings.map(model_strengths),
        games: standings.map(games),
        tie_parameter: standings.and_then(|s| s.tie_parameter).map(rounded),
        connected: standings.map(Standings::connected),
        reward_model: day.reward_model.ok().map(rewards),
        explanation: explanation(day.standings),
        envelope: header.envelope(about, absent),
    }
}

/// The models, strongest first, as they stand in this answer and in every ranking.
#[must_use]
pub fn model_strengths(standings: &Standings) -> Vec<ModelStrength> {
    let level = standings.interval_level;
    let row = |(position, standing): (usize, &Standing)| ModelStrength {
        rank: position as u32 + 1,
        model: standing.player.clone(),
        strength: standing.strength.map(|s| rounded(s.log_strength)),
        interval: standing.strength.map(|s| Interval { level, low: rounded(s.low), high: rounded(s.high) }),
        wins: standing.wins,
        losses: standing.losses,
        ties: standing.ties,
    };
    standings.players.iter().enumerate().map(row).collect()
}

fn games(standings: &Standings) -> ContestGames {
    ContestGames {
        count: standings.games,
        first_quarter: standings.first_quarter.map(String::from),
        last_quarter: standings.last_quarter.map(String::from),
        level: standings.rule.level,
        test: SHORT_SERIES_TEST.to_owned(),
    }
}

fn rewards(record: &RewardModelRecord) -> RewardModelRecord {
    let row = |row: &StateRewards| StateRewards {
        sell: rounded(row.sell),
        hold: rounded(row.hold),
        buy: rounded(row.buy),
        ..row.clone()
    };
    RewardModelRecord {
        accuracy: record.accuracy.map(rounded),
        constant_accuracy: record.constant_accuracy.map(rounded),
        log_loss: record.log_loss.map(rounded),
        constant_log_loss: record.constant_log_loss.map(rounded),
        p_value: record.p_value.map(rounded),
        table: record.table.iter().map(row).collect(),
        ..record.clone()
    }
}

fn explanation(standings: Result<&Standings, &str>) -> ResponsesExplanation {
    let standings = match standings {
        Ok(standings) => standings,
        Err(why) => return unexplained(format!("There are no games between the models: {why}.")),
    };
    let points = |count: fn(&Standing) -> u32| standings.players.iter().map(count).sum::<u32>();
    let strongest = standings.players.first().filter(|s| s.strength.is_some());
    ResponsesExplanation {
        sentence: sentence(standings),
        decided_games: points(|s| s.wins),
        tied_games: points(|s| s.ties) / 2,
        overlap: Some(standings.rule.overlap as u32),
        days_minimum: Some(standings.rule.days_minimum as u32),
        strongest: strongest.map(|s| s.player.clone()),
        lead: lead(standings).map(rounded),
        components: standings.components.clone(),
    }
}

fn unexplained(sentence: String) -> ResponsesExplanation {
    ResponsesExplanation {
        sentence,
        decided_games: 0,
        tied_games: 0,
        overlap: None,
        days_minimum: None,
        strongest: None,
        lead: None,
        components: vec![],
    }
}

fn lead(standings: &Standings) -> Option<f64> {
    let [first, second, ..] = standings.players.as_slice() else { return None };
    Some(first.strength?.log_strength - second.strength?.log_strength)
}

fn sentence(standings: &Standings) -> String {
    let ([first, second, ..], Some(since), Some(until)) =
        (standings.players.as_slice(), standings.first_quarter, standings.last_quarter)
    else {
        return "No two models were there in the same quarter, so no game was played.".to_owned();
    };
    let games = format!("{} games of {since} to {until}", standings.games);
    match (first.strength, second.strength) {
        (Some(strength), Some(next)) => {
            let apart = if strength.low > next.log_strength { "clearly ahead of" } else { "not told apart from" };
            format!(
                "After {games} acting on {} earned most, with {} wins, {} losses and {} ties; it is {apart} {}.",
                first.player, first.wins, first.losses, first.ties, second.player
            )
        }
        _ if !standings.connected() => {
            let apart: Vec<String> = standings.components.iter().map(|c| c.join(", ")).collect();
            format!(
                "After {games} there are no strengths, because no results lead both ways between {}.",
                apart.join(" | ")
            )
        }
        _ => format!("After {games} there are no strengths, because too few of them were decided."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::contest::{Game, GameOutcome, GameRule};
    use crate::opinion::canonical::canonical;
    use crate::opinion::chain::Chain;
    use crate::opinion::provenance::Provenance;
    use crate::opinion::responses::RewardSource;

    fn header() -> Header {
        let moment = "2024-09-30T21:05:12Z".parse().unwrap();
        Header {
            as_of: "2024-09-30".parse().unwrap(),
            published_at: moment,
            simulated: true,
            model_id: "m".into(),
            has_network: true,
            chain: Chain::Live,
            provenance: Provenance {
                inputs_hash: "0".repeat(64),
                known_until: moment,
                recorded_until: moment,
                recipe: "default".into(),
                model_sha256: None,
                seed: 1,
                code_version: "0".into(),
                publication: uuid::Uuid::nil(),
                promotion: None,
            },
        }
    }

    fn sources() -> Sources {
        let [mean, volatility, ranks, intervals, direction] =
            ["equity_premium", "harx2", "seasonal", "conformal", "base_rate"].map(str::to_owned);
        Sources { mean, volatility, ranks, intervals, direction }
    }

    fn standings(results: &[(&str, &str, GameOutcome)]) -> Standings {
        let game = |(k, (first, second, outcome)): (usize, &(&str, &str, GameOutcome))| Game {
            quarter: format!("{}-Q1", 2016 + k).parse().unwrap(),
            first: (*first).to_owned(),
            second: (*second).to_owned(),
            outcome: *outcome,
            mean_difference: 0.0,
            p_value: None,
            days: 13,
        };
        let games: Vec<Game> = results.iter().enumerate().map(game).collect();
        let rule = GameRule { overlap: 4, level: 0.10, days_minimum: 8 };
        Standings::of(&["harx2", "no_change", "reversal"].map(str::to_owned), &games, rule, 0.9)
    }

    fn record() -> RewardModelRecord {
        RewardModelRecord {
            source: RewardSource::Constant,
            accuracy: Some(0.5 + 1e-9),
            constant_accuracy: Some(0.5),
            log_loss: Some(0.69),
            constant_log_loss: Some(0.68),
            p_value: None,
            comparisons: 12,
            table: vec![StateRewards {
                state: 2,
                trend: "falling".into(),
                volatility: "turbulent".into(),
                sell: 1.0 / 3.0,
                hold: 0.0,
                buy: -1.0 / 3.0,
            }],
        }
    }

    fn of(standings: Result<&Standings, &str>, reward_model: Result<&RewardModelRecord, &str>) -> Responses {
        let sources = sources();
        let day = ResponsesOfDay { horizon: Horizon::FourWeeks, sources: &sources, standings, reward_model };
        let formed = responses(&header(), &day);
        let bytes = canonical(&formed).unwrap();
        assert_eq!(serde_json::from_slice::<Responses>(&bytes).unwrap(), formed);
        formed
    }

    #[test]
    fn models_stand_by_strength_with_the_games_behind_them() {
        use GameOutcome::{FirstWins, SecondWins, Tie};
        let played = standings(&[
            ("harx2", "no_change", FirstWins),
            ("harx2", "no_change", FirstWins),
            ("harx2", "no_change", SecondWins),
            ("no_change", "reversal", FirstWins),
            ("no_change", "reversal", Tie),
        ]);
        let formed = of(Ok(&played), Ok(&record()));
        let models = formed.models.unwrap();
        assert_eq!(models.iter().map(|m| m.model.as_str()).collect::<Vec<_>>(), ["harx2", "no_change", "reversal"]);
        assert_eq!((models[0].rank, models[0].wins, models[0].losses, models[0].ties), (1, 2, 1, 0));
        assert!(models.iter().all(|m| m.strength.is_some() && m.interval.unwrap().level == 0.9));
        let games = formed.games.unwrap();
        assert_eq!((games.count, games.first_quarter.as_deref()), (5, Some("2016-Q1")));
        assert!(formed.tie_parameter.unwrap() > 0.0 && formed.connected == Some(true));
        assert_eq!(formed.envelope.reasons.get("symbol").map(String::as_str), Some("whole_universe"));
        assert_eq!(formed.envelope.reasons.get("reward_model.p_value").map(String::as_str), Some(TOO_FEW_QUARTERS));
        assert_eq!(formed.envelope.reasons.len(), 2);
        assert_eq!((formed.explanation.decided_games, formed.explanation.tied_games), (4, 1));
        let expected = "After 5 games of 2016-Q1 to 2020-Q1 acting on harx2 earned most, with 2 wins, 1 losses and 0 \
                        ties; it is not told apart from no_change.";
        assert_eq!(formed.explanation.sentence, expected);
        assert_eq!(formed.reward_model.unwrap().table[0].sell, 0.333_333);
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        let apart = standings(&[("harx2", "no_change", GameOutcome::FirstWins)]);
        let formed = of(Ok(&apart), Err("too_few_comparisons"));
        assert_eq!(formed.envelope.reasons["models.strength"], "not_connected");
        assert_eq!(formed.envelope.reasons["reward_model"], "too_few_comparisons");
        assert!(formed.models.unwrap().iter().all(|m| m.strength.is_none()));
        assert!(formed.explanation.sentence.ends_with("between harx2 | no_change | reversal."));
        let none = of(Ok(&standings(&[])), Ok(&record()));
        assert_eq!(none.envelope.reasons["tie_parameter"], "too_few_games");
        let absent = of(Err("not_computed_yet"), Err("not_computed_yet"));
        assert_eq!((absent.models, absent.games, absent.connected), (None, None, None));
        assert_eq!(absent.envelope.reasons["models"], "not_computed_yet");
    }
}
