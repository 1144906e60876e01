//! The ranking of an instrument's actions, with the game they were ranked by.

use crate::decision::action::{Action as Move, MixedStrategy};
use crate::decision::dominance::EliminationKind;
use crate::decision::ranking::RankedAction as Ranked;
use crate::decision::signal::Decision;
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::{Kind, reason};
use crate::opinion::numbers::rounded_distribution;
use crate::opinion::ranking::{
    Column, Elimination, EliminationKind as Kinds, Equilibrium, PayoffInterval, Payoffs, RankedAction, Ranking,
    Strategy,
};
use crate::publication::forecast::Subject;
use crate::publication::header::{About, Absent, Header};
use crate::publication::signal::{holder, shown};

/// Forms the ranking.
#[must_use]
pub fn ranking(header: &Header, subject: &Subject<'_>, decision: Option<&Decision>) -> Ranking {
    let mut absent = Absent::default();
    absent.because("responses", reason::NOT_COMPUTED_YET);
    match decision {
        Some(decision) => {
            for field in ["actions.reward", "actions.policy_probability"] {
                absent.because(field, reason::NOT_COMPUTED_YET);
            }
            if decision.ranking.iter().any(|r| r.interval.is_none()) {
                absent.because("actions.interval", "one_model");
            }
        }
        None => ["actions", "payoffs", "equilibrium"].into_iter().for_each(|f| absent.because(f, subject.without)),
    }
    let about =
        About { kind: Kind::Ranking, symbol: Some(subject.symbol), horizon: subject.horizon, sources: subject.sources };
    Ranking {
        holder: holder(),
        actions: decision.map(|d| d.ranking.iter().map(ranked).collect()),
        payoffs: decision.map(payoffs),
        equilibrium: decision.map(equilibrium),
        responses: None,
        envelope: header.envelope(about, absent),
    }
}

fn ranked(response: &Ranked) -> RankedAction {
    RankedAction {
        rank: u32::from(response.rank),
        action: shown(response.action),
        value: rounded(response.value),
        interval: response.interval.map(|i| PayoffInterval { low: rounded(i.low), high: rounded(i.high) }),
        best_response_share: Some(rounded(response.best_response_share)),
        eliminated_by: response.eliminated_by.map(|e| Elimination {
            kind: match e.kind {
                EliminationKind::OutOfRange => Kinds::OutOfRange,
                EliminationKind::Strict => Kinds::Strict,
                EliminationKind::Weak => Kinds::Weak,
                EliminationKind::Mixture => Kinds::Mixture,
            },
            round: u32::from(e.round),
            by: (e.kind != EliminationKind::OutOfRange).then(|| strategy(&e.by)),
        }),
        reward: None,
        policy_probability: None,
    }
}

fn payoffs(decision: &Decision) -> Payoffs {
    let columns = decision.payoffs.columns();
    let belief = |column: &crate::decision::game::Column| {
        rounded(column.belief * decision.equilibrium.quantal_response.probabilities[column.crowd])
    };
    Payoffs {
        rows: Move::ALL.map(shown).to_vec(),
        columns: columns
            .iter()
            .map(|c| Column { model: c.models.join("+"), crowd: shown(c.crowd), belief: Some(belief(c)) })
            .collect(),
        values: Move::ALL.map(|row| columns.iter().map(|c| rounded(c.payoffs[row])).collect()).to_vec(),
    }
}

fn equilibrium(decision: &Decision) -> Equilibrium {
    let response = &decision.equilibrium.quantal_response;
    Equilibrium {
        concept: "logit_quantal_response".to_owned(),
        precision: response.precision,
        strategy: strategy(&response.probabilities),
    }
}

fn strategy(mixed: &MixedStrategy) -> Strategy {
    let [sell, hold, buy] = rounded_distribution(Move::ALL.map(|a| mixed[a]));
    Strategy { sell, hold, buy }
}
