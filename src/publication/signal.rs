//! The signal of an instrument: the game's answer with the numbers it rests on.

use crate::decision::action::Action as Move;
use crate::decision::holder::{Holder as Player, HolderType as PlayerType};
use crate::decision::signal::{Basis as Argument, Decision, SignalInputs, decide};
use crate::forecast::attribution::Unattributed;
use crate::forecast::day::InstrumentForecast;
use crate::forecast::settings::ForecastSettings;
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::{Kind, reason};
use crate::opinion::rating::Grades;
use crate::opinion::signal::{Action, Attribution, Basis, Holder, Signal, Verdicts};
use crate::publication::forecast::{SIGNAL_LEVEL, Subject};
use crate::publication::header::{About, Absent, Header};
use crate::publication::played::Played;

/// What a signal says besides the game's answer.
pub struct Beside<'a> {
    /// The game and what is known of it.
    pub played: &'a Played,
    /// The grades of the rating.
    pub grades: Grades,
    /// The verdicts, where there are any.
    pub verdicts: Option<Verdicts>,
    /// What moved the volatility from its base, or why that is not known.
    pub attribution: Result<Attribution, Unattributed>,
    /// What moved the other numbers that the network decides.
    pub other_attributions: Vec<Attribution>,
    /// The last signal.
    pub previous: Option<&'a Signal>,
}

/// Plays the game for a holder at the usual exposure; `None` when a number is outside its range.
#[must_use]
pub fn play(forecast: &InstrumentForecast, settings: &ForecastSettings) -> Option<Decision> {
    let inputs = SignalInputs {
        models: forecast.models.clone(),
        belief: None,
        holder: Player::usual(PlayerType::Holder),
        long_run: forecast.long_run,
        settings: settings.game,
    };
    decide(&inputs).ok()
}

/// Forms the signal.
#[must_use]
pub fn signal(header: &Header, subject: &Subject<'_>, beside: Beside<'_>) -> Signal {
    let Beside { played, grades, verdicts, attribution, other_attributions, previous } = beside;
    let decision = played.decision.as_ref();
    let known = subject.forecast.filter(|_| decision.is_some());
    let mut absent = Absent::default();
    let confidence = if decision.is_some() { played.confidence } else { Err(subject.without) };
    if let Err(why) = confidence {
        absent.because("confidence", why);
    }
    let (attribution, unattributed) = match attribution {
        Ok(attribution) => (known.map(|_| attribution), subject.without.to_owned()),
        Err(Unattributed::NoForecast) => (None, subject.without.to_owned()),
        Err(why) => (None, why.to_string()),
    };
    let attribution = absent.or_because(attribution, "attribution", &unattributed);
    let factor_groups = attribution.as_ref().ok_or(unattributed.as_str());
    let explanation = played.explanation(factor_groups);
    if verdicts.is_none() {
        absent.because("predictability", "see_predictability");
    }
    if known.is_none() {
        let fields = [
            "action",
            "basis",
            "dominance_share",
            "probability_up",
            "expected_return",
            "interval",
            "price",
            "volatility",
            "explanation",
        ];
        fields.into_iter().for_each(|field| absent.because(field, subject.without));
    }
    for (field, grade) in [("rating.short_term", &grades.short_term), ("rating.long_term", &grades.long_term)] {
        if grade.is_none() {
            absent.because(field, "see_rating");
        }
    }
    let action = decision.map(|d| shown(d.action));
    let (changed_on, before) = change(header, action, previous);
    if before.is_none() {
        absent.because("previous", if previous.is_none() { reason::FIRST_PUBLICATION } else { "never_changed" });
    }
    if changed_on.is_none() {
        absent.because("changed_on", subject.without);
    }
    played.unexplained(factor_groups).into_iter().for_each(|(field, why)| absent.because(field, why));
    let about =
        About { kind: Kind::Signal, symbol: Some(subject.symbol), horizon: subject.horizon, sources: subject.sources };
    Signal {
        action,
        basis: decision.map(|d| basis(d.basis)),
        dominance_share: decision.map(|d| rounded(d.dominance_share)),
        confidence: confidence.ok().map(rounded),
        holder: holder(),
        probability_up: known.map(|f| rounded(f.probability_up)),
        expected_return: known.map(|f| rounded(f.mean)),
        interval: known.and_then(|_| subject.interval(SIGNAL_LEVEL)),
        price: known.and_then(|_| subject.price()),
        volatility: known.and_then(|_| subject.volatility()),
        predictability: verdicts,
        rating: grades,
        explanation,
        attribution,
        other_attributions: if known.is_some() { other_attributions } else { vec![] },
        changed_on,
        previous: before,
        envelope: header.envelope(about, absent),
    }
}

/// The holder of every published answer: the default one.
#[must_use]
pub fn holder() -> Holder {
    Holder::usual(PlayerType::Holder)
}

/// The action in the words of the answers.
#[must_use]
pub fn shown(action: Move) -> Action {
    action.into()
}

/// The argument in the words of the answers.
#[must_use]
pub fn basis(basis: Argument) -> Basis {
    match basis {
        Argument::Strict => Basis::Strict,
        Argument::Weak => Basis::Weak,
        Argument::Iterated => Basis::Iterated,
        Argument::BestResponse => Basis::BestResponse,
        Argument::None => Basis::None,
    }
}

/// Since when the action has been what it is, and what it was before.
fn change(
    header: &Header,
    action: Option<Action>,
    previous: Option<&Signal>,
) -> (Option<chrono::NaiveDate>, Option<Action>) {
    match (action, previous) {
        (None, _) => (None, None),
        (Some(_), None) => (Some(header.as_of), None),
        (Some(now), Some(last)) if last.action == Some(now) => (last.changed_on.or(Some(header.as_of)), last.previous),
        (Some(_), Some(last)) => (Some(header.as_of), last.action),
    }
}
