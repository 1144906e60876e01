//! The reward model on planted rewards.

use crate::decision::action::Action;
use crate::learning::reward::{
    RewardError, RewardModel, RewardPair, RewardSettings, RewardSource, RewardTable, quarter_ordinal, train_reward,
};
use crate::learning::reward_planted::{Planted, by_state, without_state};
use crate::learning::reward_tally::DUELS;
use crate::learning::task::STATES;
use crate::market::horizon::Horizon;

fn settings(seed: u64) -> RewardSettings {
    RewardSettings { seed, threads: 2, ..RewardSettings::default() }
}

fn trained(planted: &Planted, seed: u64) -> RewardModel {
    train_reward(&planted.pairs(seed), &settings(seed)).unwrap()
}

fn rewards_of(table: &RewardTable) -> Vec<[f64; 3]> {
    let cells = Horizon::ALL.into_iter().flat_map(|horizon| (0..STATES as u8).map(move |state| (state, horizon)));
    let rewards = cells.filter_map(|(state, horizon)| table.rewards(state, horizon));
    rewards.map(|rewards| Action::ALL.map(|action| rewards[action])).collect()
}

#[test]
fn planted_rewards_are_recovered() {
    let planted = Planted {
        quarters: 400,
        per_quarter: 1000,
        market_shock: 0.0,
        state_shock: 0.0,
        ties: 0.0,
        ..Planted::usual(by_state)
    };
    let model = trained(&planted, 1);
    assert_eq!(model.source, RewardSource::Network);
    for state in 0..STATES {
        let (rewards, truth) = (model.table.rewards(state as u8, Horizon::FourWeeks).unwrap(), by_state(state));
        for [first, second] in DUELS {
            let (found, planted) = (rewards[first] - rewards[second], truth[first] - truth[second]);
            assert!((found - planted).abs() < 0.1, "{state} {first} {second}: {found} for {planted}");
            assert!(planted.abs() < 0.15 || found.signum() == planted.signum());
        }
    }
    let better = model.table.probability_better(6, Horizon::OneWeek, Action::Buy, Action::Sell).unwrap();
    assert!((better - 1.0 / (1.0 + (-1.3f64).exp())).abs() < 0.02, "{better}");
    assert!(model.table.rewards(0, Horizon::Year).is_none() && model.table.rewards(9, Horizon::OneWeek).is_none());
}

#[test]
fn a_state_that_matters_is_found_and_one_that_does_not_is_not() {
    let serves = |truth, seed| {
        let settings = RewardSettings { epochs: 150, ..settings(seed) };
        train_reward(&Planted::usual(truth).pairs(seed), &settings).unwrap().record.serves_network
    };
    let served = |truth: fn(usize) -> _| (0..20).filter(|seed| serves(truth, *seed)).count();
    let (with, without) = (served(by_state), served(without_state));
    println!("network served: {with} of 20 with a planted state, {without} of 20 without");
    assert!(with >= 19 && without <= 2, "{with} {without}");
}

#[test]
fn what_is_served_is_named() {
    let model = trained(&Planted::usual(without_state), 3);
    assert_eq!((model.source, &model.table), (RewardSource::Constant, &model.constant));
    assert!(!model.record.serves_network);
    let rewards = rewards_of(&model.table);
    assert_eq!(rewards.len(), 2 * STATES);
    assert!(rewards[..STATES].windows(2).all(|pair| pair[0] == pair[1]));
    let network = trained(&Planted::usual(by_state), 3);
    assert_eq!((network.source, network.record.serves_network), (RewardSource::Network, true));
    let test = network.record.log_loss_test.unwrap();
    assert!(test.statistic > 2.0 && test.p_value < 0.05, "{test:?}");
    let scores = network.record.scores;
    assert!(scores.accuracy > scores.constant_accuracy && scores.log_loss < scores.constant_log_loss, "{scores:?}");
    assert!(network.record.accuracy_test.unwrap().statistic > 0.0);
    let all = rewards_of(&network.table).into_iter().chain(rewards_of(&network.constant));
    assert!(all.map(|rewards| rewards.iter().sum::<f64>()).all(|sum| sum.abs() < 1e-12));
}

#[test]
fn the_same_pairs_and_seed_give_the_same_bytes() {
    let bytes = |pairs: &[RewardPair], settings: RewardSettings| {
        serde_json::to_vec(&train_reward(pairs, &settings).unwrap()).unwrap()
    };
    let mut pairs = Planted { quarters: 20, ..Planted::usual(by_state) }.pairs(5);
    let first = bytes(&pairs, settings(7));
    assert_eq!(first, bytes(&pairs, settings(7)));
    pairs.reverse();
    assert_eq!(first, bytes(&pairs, RewardSettings { threads: 1, ..settings(7) }));
    assert_ne!(first, bytes(&pairs, settings(8)));
    let back: RewardModel = serde_json::from_slice(&first).unwrap();
    assert_eq!(serde_json::to_vec(&back).unwrap(), first);
}

#[test]
fn nothing_and_little_are_served_by_the_benchmark() {
    let nothing = train_reward(&[], &settings(1)).unwrap();
    assert_eq!((nothing.source, nothing.table), (RewardSource::Constant, RewardTable::default()));
    assert_eq!(nothing.record.scores.log_loss, None);
    let always = RewardPair {
        state: 8,
        horizon: Horizon::OneWeek,
        better: Action::Buy,
        worse: Action::Sell,
        tie: false,
        quarter: quarter_ordinal(2020, 1),
        known_from: quarter_ordinal(2020, 2),
    };
    let one = train_reward(&[always; 50], &settings(1)).unwrap();
    let rewards = one.table.rewards(0, Horizon::OneWeek).unwrap();
    assert!(rewards.buy > 0.3 && rewards.buy < 5.0 && rewards.hold.abs() < 1e-9);
    assert!(one.record.years.is_empty());
}

#[test]
fn unusable_pairs_and_settings_are_refused() {
    let pairs = Planted { quarters: 1, ..Planted::usual(by_state) }.pairs(1);
    let refused = |change: fn(&mut RewardPair)| {
        let mut pairs = pairs.clone();
        change(&mut pairs[3]);
        train_reward(&pairs, &settings(1)).unwrap_err()
    };
    assert!(matches!(refused(|pair| pair.state = 9), RewardError::State { state: 9 }));
    assert!(matches!(refused(|pair| pair.known_from = pair.quarter), RewardError::KnownTooEarly { .. }));
    let with = |settings| train_reward(&pairs, &settings).unwrap_err().to_string();
    assert!(with(RewardSettings { hidden: 0, ..settings(1) }).contains("hidden"));
    assert!(with(RewardSettings { learning_rate: f64::NAN, ..settings(1) }).contains("learning_rate"));
    assert!(with(RewardSettings { prior_quarters: 0.0, ..settings(1) }).contains("prior_quarters"));
}
