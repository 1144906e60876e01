//! Whether the recent window of the features differs from the reference by more than the reference's own windows do.
//!
//! Features look back as far as a year, so neighbouring days repeat each other and a quarter of them is worth a handful of
//! independent values: on unchanged markets nearly every stability index of a quarter is above the customary .25. So the
//! recent window is held against windows of the same length of the reference itself, each compared with the others. What
//! these show on average is the noise level. If nothing changed, the recent window is one among the others, so it is the
//! farthest out of `k` windows with a chance of `1/k`, whatever the law of the features: a permutation test. Of the four
//! factors the largest counts in every window (Westfall and Young 1993), so the chance holds for the four together.

use crate::evaluation::feature_drift::{
    Bins, kolmogorov_smirnov, kolmogorov_smirnov_noise, stability_index, stability_noise,
};
use crate::features::schema::FactorGroup;

/// Chance of an alarm if nothing has changed.
pub const LEVEL: f64 = 0.05;
/// Number of factors.
const GROUPS: usize = FactorGroup::ALL.len();

/// One column's distance of each window from the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDistances {
    group: FactorGroup,
    /// The recent window first; `None` for an empty one.
    windows: Vec<Option<Distance>>,
    /// What independent values would show in the recent window.
    independent: Distance,
}

/// How far a window lies from the reference, or from the rest of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Distance {
    /// Population stability index, >= 0.
    pub stability_index: f64,
    /// Kolmogorov-Smirnov distance of the values that are there, 0..=1.
    pub kolmogorov_smirnov: f64,
}

/// What is found of one factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupDrift {
    /// The recent window's distances, mean over the columns.
    pub recent: Distance,
    /// Those of the reference's own windows on average, at least those of independent values.
    pub noise: Distance,
    /// Share of windows, the recent one among them, in which any factor lies as far out as this one does now; 1 where no
    /// two windows can be told apart.
    pub p_value: f64,
    /// The reference's windows that were compared.
    pub windows: usize,
}

impl ColumnDistances {
    /// Compares the windows of a column; `None` without a recent one, or when the others hold too few values for tenths.
    ///
    /// # Shapes
    /// The recent window first, then those of the reference; NaN = missing, an empty window = not there.
    #[must_use]
    pub fn of(group: FactorGroup, windows: &[Vec<f32>]) -> Option<Self> {
        let finite = |window: &Vec<f32>| {
            let mut known: Vec<f32> = window.iter().copied().filter(|v| v.is_finite()).collect();
            known.sort_by(f32::total_cmp);
            known
        };
        let known: Vec<Vec<f32>> = windows.iter().map(finite).collect();
        let mut reference = known.get(1..)?.concat();
        reference.sort_by(f32::total_cmp);
        let bins = Bins::of(&reference)?;
        let tallies: Vec<Vec<u32>> = windows.iter().map(|window| bins.tally(window)).collect();
        let all = |bin: usize| tallies[1..].iter().map(|tally| tally[bin]).sum();
        let all: Vec<u32> = (0..bins.count()).map(all).collect();
        let recent = stability_index(&tallies[0], &all)?;
        let recent = Distance { stability_index: recent, kolmogorov_smirnov: gap(&known[0], &reference, 0) };
        let own = |(tally, known): (&Vec<u32>, &Vec<f32>)| {
            let others: Vec<u32> = all.iter().zip(tally).map(|(all, own)| all - own).collect();
            let stability_index = stability_index(tally, &others)?;
            Some(Distance { stability_index, kolmogorov_smirnov: gap(known, &reference, known.len()) })
        };
        let own = tallies[1..].iter().zip(&known[1..]).map(own);
        let rows = windows[1..].iter().map(Vec::len).sum();
        let independent = Distance {
            stability_index: stability_noise(bins.count(), windows[0].len(), rows),
            kolmogorov_smirnov: kolmogorov_smirnov_noise(known[0].len().max(1), reference.len()),
        };
        Some(Self { group, windows: std::iter::once(Some(recent)).chain(own).collect(), independent })
    }
}

/// The distance from the other values of a sorted reference, `own` of which are the window's: the gap to all of them is
/// smaller by the share that it takes. 0 without values.
fn gap(window: &[f32], reference: &[f32], own: usize) -> f64 {
    let others = reference.len() - own;
    let grown = if others == 0 { 0.0 } else { reference.len() as f64 / others as f64 };
    kolmogorov_smirnov(window, reference).map_or(0.0, |distance| (distance * grown).min(1.0))
}

/// What the columns say of each factor, in the order of [`FactorGroup::ALL`]; `None` for one without columns, or without a
/// window to compare with.
///
/// # Shapes
/// All columns have the same windows.
#[must_use]
pub fn judge(columns: &[ColumnDistances]) -> [Option<GroupDrift>; GROUPS] {
    let of_group = |group: FactorGroup| columns.iter().filter(move |column| column.group == group);
    let means: Vec<Vec<Option<Distance>>> =
        FactorGroup::ALL.map(|g| window_means(&of_group(g).collect::<Vec<_>>())).into();
    let present: Vec<usize> = (0..GROUPS).filter(|g| means[*g].first().is_some_and(Option::is_some)).collect();
    // A window counts when it has all factors that the recent one has.
    let count = present.iter().map(|g| means[*g].len()).min().unwrap_or_default();
    let counted: Vec<usize> = (0..count).filter(|w| present.iter().all(|g| means[*g][*w].is_some())).collect();
    let distances = |g: usize| counted.iter().filter_map(|w| means[g][*w]).collect::<Vec<Distance>>();
    let mut found = [None; GROUPS];
    if counted.len() < 2 {
        return found;
    }
    let outlying: Vec<Vec<f64>> = present.iter().map(|g| outlyingness(&distances(*g))).collect();
    let farthest = |w: usize| outlying.iter().map(|of| of[w]).fold(f64::NEG_INFINITY, f64::max);
    let farthest: Vec<f64> = (0..counted.len()).map(farthest).collect();
    for (group, outlying) in present.iter().zip(&outlying) {
        let distances = distances(*group);
        let as_far = farthest.iter().filter(|f| **f >= outlying[0]).count();
        let floors: Vec<Distance> = of_group(FactorGroup::ALL[*group]).map(|column| column.independent).collect();
        found[*group] = Some(GroupDrift {
            recent: distances[0],
            noise: largest(mean(&distances[1..]), mean(&floors)),
            p_value: as_far as f64 / counted.len() as f64,
            windows: counted.len() - 1,
        });
    }
    found
}

/// Mean over the columns, window by window.
fn window_means(columns: &[&ColumnDistances]) -> Vec<Option<Distance>> {
    let count = columns.iter().map(|column| column.windows.len()).min().unwrap_or_default();
    let of_window = |w: usize| {
        let known: Vec<Distance> = columns.iter().filter_map(|column| column.windows[w]).collect();
        (!known.is_empty()).then(|| mean(&known))
    };
    (0..count).map(of_window).collect()
}

fn mean(distances: &[Distance]) -> Distance {
    let of = |part: fn(&Distance) -> f64| distances.iter().map(part).sum::<f64>() / distances.len() as f64;
    Distance { stability_index: of(|d| d.stability_index), kolmogorov_smirnov: of(|d| d.kolmogorov_smirnov) }
}

fn largest(a: Distance, b: Distance) -> Distance {
    Distance {
        stability_index: a.stability_index.max(b.stability_index),
        kolmogorov_smirnov: a.kolmogorov_smirnov.max(b.kolmogorov_smirnov),
    }
}

/// Logarithm of the index of each window in median absolute deviations from the median, so that factors can be compared.
/// All windows are treated alike, the recent one as well, which the test relies on.
fn outlyingness(distances: &[Distance]) -> Vec<f64> {
    let logs: Vec<f64> = distances.iter().map(|d| d.stability_index.max(f64::MIN_POSITIVE).ln()).collect();
    let centre = median(logs.clone());
    let deviation = median(logs.iter().map(|log| (log - centre).abs()).collect());
    logs.iter().map(|log| if deviation > 0.0 { (log - centre) / deviation } else { 0.0 }).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, StandardNormal};

    /// Values a session of windows with 21 sessions; persistence of the days, and how the recent window differs.
    struct Market {
        instruments: usize,
        windows: usize,
        persistence: f64,
        recent_scale: f64,
        recent_shift: f64,
    }

    const CALM: Market =
        Market { instruments: 4, windows: 40, persistence: 0.95, recent_scale: 1.0, recent_shift: 0.0 };

    /// A column of AR(1) series that share half of their variance; the recent window, the last in time, comes first.
    fn column(market: &Market, group: FactorGroup, seed: u64) -> ColumnDistances {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let innovation = (1.0 - market.persistence * market.persistence).sqrt();
        let mut states: Vec<f64> = (0..=market.instruments).map(|_| normal()).collect();
        let mut windows = Vec::new();
        for window in 0..=market.windows {
            let recent = window == market.windows;
            let mut values = Vec::new();
            for _ in 0..21 {
                states.iter_mut().for_each(|state| *state = market.persistence * *state + innovation * normal());
                let (shared, own) = states.split_last().unwrap();
                let (scale, shift) = if recent { (market.recent_scale, market.recent_shift) } else { (1.0, 0.0) };
                values.extend(own.iter().map(|o| (scale * (o + shared) + shift) as f32));
            }
            windows.push(values);
        }
        windows.reverse();
        ColumnDistances::of(group, &windows).unwrap()
    }

    fn judged(market: &Market, seed: u64) -> Vec<GroupDrift> {
        let columns: Vec<ColumnDistances> =
            (0..8).map(|c| column(market, FactorGroup::ALL[c % GROUPS], 100 * seed + c as u64)).collect();
        judge(&columns).into_iter().flatten().collect()
    }

    fn alarms(market: &Market, markets: u64) -> usize {
        (0..markets).filter(|seed| judged(market, *seed).iter().any(|group| group.p_value <= 0.05)).count()
    }

    #[test]
    fn unchanged_markets_raise_an_alarm_one_time_in_twenty() {
        for persistence in [0.0, 0.9, 0.98] {
            let false_alarms = alarms(&Market { persistence, ..CALM }, 300);
            // Two of 41 windows may be the farthest: 4.9 %; 300 markets show up to 25 with a chance of 99 %.
            assert!(false_alarms <= 25, "{false_alarms} of 300 at {persistence}");
        }
    }

    #[test]
    fn the_customary_thresholds_would_alarm_at_nearly_every_one() {
        let above = |seed: &u64| judged(&CALM, *seed).iter().any(|group| group.recent.stability_index > 0.25);
        assert!((0..40).filter(above).count() > 36);
        let excess = |seed: u64| {
            let groups = judged(&CALM, seed);
            groups.iter().map(|g| g.recent.stability_index - g.noise.stability_index).sum::<f64>() / groups.len() as f64
        };
        let mean = (0..100).map(excess).sum::<f64>() / 100.0;
        assert!(mean.abs() < 0.1, "{mean} is left when the noise level is taken away");
    }

    #[test]
    fn wider_and_shifted_values_are_found() {
        let quick = Market { persistence: 0.8, ..CALM };
        assert!(alarms(&Market { recent_scale: 3.0, ..quick }, 60) >= 55);
        assert!(alarms(&Market { recent_shift: 3.0, ..quick }, 60) >= 55);
    }

    #[test]
    fn nineteen_windows_are_needed_for_a_level_of_a_twentieth() {
        let market = |windows| Market { windows, recent_shift: 9.0, persistence: 0.5, ..CALM };
        assert_eq!((alarms(&market(18), 20), alarms(&market(19), 20)), (0, 20));
    }

    #[test]
    fn values_that_go_missing_are_drift_and_columns_without_values_are_left_out() {
        let values =
            |seed: u64| -> Vec<f32> { StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(60).collect() };
        let mut windows: Vec<Vec<f32>> = (0..30).map(values).collect();
        windows[0] = vec![f32::NAN; 60];
        let gone = judge(&[ColumnDistances::of(FactorGroup::Risk, &windows).unwrap()]);
        assert!(gone[3].unwrap().p_value < 0.05 && gone[0].is_none());
        assert!(ColumnDistances::of(FactorGroup::Risk, &vec![vec![f32::NAN; 60]; 30]).is_none());
        assert!(ColumnDistances::of(FactorGroup::Risk, &[]).is_none());
        windows[0].clear();
        assert!(ColumnDistances::of(FactorGroup::Risk, &windows).is_none());
    }
}
