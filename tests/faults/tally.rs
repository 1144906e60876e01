//! What is killed and when, and what all kills came to.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::s;
use crate::report::Report;

/// What is going on when the kill comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Files are recorded.
    Import,
    /// A network is trained.
    Train,
    /// A day is published.
    Publish,
    /// The end of a training, when the model is stored and put in force.
    Promote,
    /// An operator puts an earlier model in force.
    Activate,
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// `forecastd serve`.
    Server,
    /// `forecastd work`.
    Worker,
    /// The process of a job.
    Child,
    /// The postmaster.
    Postgres,
}

/// All of them.
pub const PHASES: [Phase; 5] = [Phase::Import, Phase::Train, Phase::Publish, Phase::Promote, Phase::Activate];

/// What all rounds came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub kills: BTreeMap<(Target, Phase), usize>,
    pub while_running: usize,
    pub longest: Duration,
    pub rows: usize,
    pub reads: usize,
    pub refused: usize,
    pub false_alarms: usize,
    pub lost_runs: i64,
    pub jobs: i64,
    pub publications: i64,
    pub promotions: i64,
}

impl Tally {
    /// Adds the rounds of another series.
    pub fn add(&mut self, other: Self) {
        for (what, count) in other.kills {
            *self.kills.entry(what).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.while_running += other.while_running;
        self.rows += other.rows;
        self.reads += other.reads;
        self.refused += other.refused;
        self.false_alarms += other.false_alarms;
        self.lost_runs += other.lost_runs;
        self.jobs += other.jobs;
        self.publications += other.publications;
        self.promotions += other.promotions;
    }

    /// Tells all of it.
    pub fn tell(&self, report: &Report) {
        let of = |target: Target| -> String {
            let kills = PHASES.map(|phase| self.kills.get(&(target, phase)).copied().unwrap_or_default());
            let each: Vec<String> = kills.iter().map(usize::to_string).collect();
            format!("{} ({})", kills.iter().sum::<usize>(), each.join(" "))
        };
        let total: usize = self.kills.values().sum();
        report.measure("kills", format!("{total}, {} of them while the job ran", self.while_running));
        for target in [Target::Server, Target::Worker, Target::Child, Target::Postgres] {
            report.measure(&format!("{target:?} killed in import, train, publish, promotion, activation"), of(target));
        }
        report.measure(
            "jobs done, each with one effect",
            format!("{}, after {} runs were cut off", self.jobs, self.lost_runs),
        );
        report.measure("promotions and publications", format!("{} and {}", self.promotions, self.publications));
        report.measure("longest time until all was done again", s(self.longest));
        report.measure("rows acknowledged, none lost", self.rows);
        let alarms = format!("{} false alarms", self.false_alarms);
        report.check("verify while a publication is written", self.false_alarms == 0, alarms);
        report.measure("writes refused with 503 and sent again", self.refused);
        report.measure("reads while something else than the server was down, none failed", self.reads);
    }
}
