//! The ranking of an instrument's actions, with the game they were ranked by.

use crate::decision::action::Action as Move;
use crate::decision::ranking::RankedAction as Ranked;
use crate::decision::signal::Decision;
use crate::opinion::canonical::{rounded, rounded_to};
use crate::opinion::envelope::Kind;
use crate::opinion::numbers::rounded_distribution;
use crate::opinion::ranking::{
    Column, Equilibrium, NashEquilibrium, PayoffInterval, Payoffs, Policy, RankedAction, Ranking, Regret,
};
use crate::publication::forecast::Subject;
use crate::publication::header::{About, Absent, Header};
use crate::publication::played::{FactorGroups, Played, RewardedPolicy, elimination, strategy};
use crate::publication::signal::{holder, shown};

/// Decimals of the equilibrium's residual, which is far below those of other numbers; fewer than a double has, so that
/// the last bits of its sums do not show.
const RESIDUAL_DECIMALS: u32 = 12;

/// Forms the ranking.
#[must_use]
pub fn ranking(header: &Header, subject: &Subject<'_>, played: &Played, factor_groups: FactorGroups<'_>) -> Ranking {
    let decision = played.decision.as_ref();
    let policy = decision.and_then(|_| played.policy.as_ref().ok());
    let about =
        About { kind: Kind::Ranking, symbol: Some(subject.symbol), horizon: subject.horizon, sources: subject.sources };
    Ranking {
        holder: holder(),
        actions: decision.map(|d| d.ranking.iter().map(|r| ranked(r, d, policy)).collect()),
        payoffs: decision.map(payoffs),
        equilibrium: decision.map(equilibrium),
        nash: decision.map(nash),
        policy: policy.map(made_of),
        responses: played.responses.clone().ok(),
        explanation: played.explanation(factor_groups),
        envelope: header.envelope(about, absences(subject, played, factor_groups)),
    }
}

fn absences(subject: &Subject<'_>, played: &Played, factor_groups: FactorGroups<'_>) -> Absent {
    let mut absent = Absent::default();
    if let Err(why) = played.responses {
        absent.because("responses", why);
    }
    if let Some(why) = played.without_strengths {
        ["responses.strength", "responses.interval"].into_iter().for_each(|field| absent.because(field, why));
    }
    let Some(decision) = &played.decision else {
        let fields = ["actions", "payoffs", "equilibrium", "nash", "policy", "explanation"];
        fields.into_iter().for_each(|field| absent.because(field, subject.without));
        return absent;
    };
    if let Err(why) = played.policy {
        for field in ["actions.reward", "actions.policy_probability", "policy"] {
            absent.because(field, why);
        }
    }
    if decision.ranking.iter().any(|r| r.interval.is_none()) {
        absent.because("actions.interval", "one_model");
    }
    played.unexplained(factor_groups).into_iter().for_each(|(field, why)| absent.because(field, why));
    absent
}

fn ranked(response: &Ranked, decision: &Decision, policy: Option<&RewardedPolicy>) -> RankedAction {
    let missed = decision.regret[response.action];
    let probabilities = policy.map(|p| rounded_distribution(Move::ALL.map(|action| p.probabilities[action])));
    RankedAction {
        rank: u32::from(response.rank),
        action: shown(response.action),
        value: rounded(response.value),
        interval: response.interval.map(|i| PayoffInterval { low: rounded(i.low), high: rounded(i.high) }),
        best_response_share: Some(rounded(response.best_response_share)),
        eliminated_by: response.eliminated_by.as_ref().map(elimination),
        reward: policy.map(|p| rounded(p.rewards[response.action])),
        policy_probability: probabilities.map(|all| all[response.action.index()]),
        regret: Some(Regret { expected: rounded(missed.expected), largest: rounded(missed.largest) }),
    }
}

fn made_of(policy: &RewardedPolicy) -> Policy {
    Policy {
        source: policy.source,
        beta: rounded(policy.beta),
        reference: strategy(&policy.reference),
        state: u32::from(policy.state),
    }
}

fn nash(decision: &Decision) -> Vec<NashEquilibrium> {
    let told = |found: &crate::decision::nash::NashEquilibrium| NashEquilibrium {
        holder: strategy(&found.holder),
        crowd: strategy(&found.crowd),
        symmetric: found.symmetric,
    };
    decision.equilibrium.nash.iter().map(told).collect()
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
        net_demand: Some(rounded(response.net_demand)),
        residual: Some(rounded_to(response.residual, RESIDUAL_DECIMALS)),
    }
}
