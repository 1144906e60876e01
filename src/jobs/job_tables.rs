//! Jobs as tables for people.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::job_answers::{JobAnswer, Progress, SummaryAnswer};

/// Longer remarks are cut in a list; `show` has them whole.
const REMARK_CHARS: usize = 60;

/// Jobs, a line each.
#[must_use]
pub fn list(jobs: &[SummaryAnswer], more: bool, now: DateTime<Utc>) -> String {
    let mut text = format!(
        "{:<36}  {:<8}  {:<9}  {:<20}  {:>11}  {:>5}  {}\n",
        "id", "kind", "state", "asked for", "took", "runs", "remark"
    );
    for job in jobs {
        let line = format!(
            "{:<36}  {:<8}  {:<9}  {:<20}  {:>11}  {:>5}  {}",
            job.id,
            job.kind,
            job.state,
            moment(job.created_at),
            took(job, now),
            format!("{}/{}", job.attempt, job.max_attempts),
            remark(job)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if more {
        text.push_str("there are more; --limit shows up to 1000\n");
    }
    text
}

/// One job, a line each field that it has.
#[must_use]
pub fn one(answer: &JobAnswer, now: DateTime<Utc>) -> String {
    let job = &answer.summary;
    let mut text = String::new();
    let mut tell = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<10} {value}");
        }
    };
    tell("job", Some(job.id.to_string()));
    tell("kind", Some(format!("{} {}", job.kind, job.arguments)));
    tell("state", Some(format!("{}, run {} of at most {}", job.state, job.attempt, job.max_attempts)));
    tell("asked for", Some(format!("{}, {}", moment(job.created_at), job.reason)));
    tell("slot", job.slot.clone());
    tell("began", job.started_at.map(moment));
    tell("worker", job.worker.clone());
    tell("heard of", job.heartbeat_age_seconds.map(|seconds| format!("{} ago", length(TimeDelta::seconds(seconds)))));
    tell("progress", job.progress.as_ref().map(progress));
    tell("cancelled", job.cancel_requested_at.map(|at| format!("{}, asked for", moment(at))));
    tell("ended", job.finished_at.map(moment));
    tell("took", Some(took(job, now)).filter(|took| !took.is_empty()));
    tell("error", job.error.clone());
    tell("result", job.result.as_ref().map(ToString::to_string));
    if !answer.attempts.is_empty() {
        text.push_str("\nrun  outcome    began                        took  worker\n");
    }
    for run in &answer.attempts {
        let (began, took) = (moment(run.started_at), length(run.finished_at - run.started_at));
        let error = run.error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
        let _ =
            writeln!(text, "{:>3}  {:<9}  {began:<20}  {took:>11}  {}{error}", run.attempt, run.outcome, run.worker);
    }
    text
}

/// How a job ended, in one line.
#[must_use]
pub fn ending(job: &SummaryAnswer) -> String {
    let mut text = format!("{} {} ", job.kind, job.id);
    match (job.state.as_str(), job.attempt) {
        ("failed", 2..) => {
            let _ = write!(text, "failed after {} runs", job.attempt);
        }
        (state, _) => text.push_str(if state == "cancelled" || state == "skipped" { "was " } else { "has " }),
    }
    if !text.ends_with(" runs") {
        text.push_str(&job.state);
    }
    let what = if job.state == "succeeded" { job.result.as_ref().map(ToString::to_string) } else { job.error.clone() };
    match what {
        Some(what) => format!("{text}: {what}"),
        None => text,
    }
}

/// How far a run is, such as `train 3/8, member 4`.
#[must_use]
pub fn progress(told: &Progress) -> String {
    let count = match told.total {
        Some(total) => format!(" {}/{total}", told.done),
        None if told.done > 0 => format!(" {}", told.done),
        None => String::new(),
    };
    let note = told.note.as_deref().map_or_else(String::new, |note| format!(", {note}"));
    format!("{}{count}{note}", told.phase)
}

fn remark(job: &SummaryAnswer) -> String {
    let whole = match job.state.as_str() {
        "running" if job.cancel_requested_at.is_some() => "is being cancelled".to_owned(),
        "running" => job.progress.as_ref().map(progress).unwrap_or_default(),
        "succeeded" => String::new(),
        _ => job.error.clone().unwrap_or_default(),
    };
    let line = whole.lines().next().unwrap_or_default();
    match line.char_indices().nth(REMARK_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

fn took(job: &SummaryAnswer, now: DateTime<Utc>) -> String {
    let end = if job.state == "running" { Some(now) } else { job.finished_at };
    job.started_at.zip(end).map_or_else(String::new, |(start, end)| length(end - start))
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn length(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    match seconds {
        0..60 => format!("{:.1} s", time.num_milliseconds().max(0) as f64 / 1000.0),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::api::job_answers::Attempt;

    fn job(state: &str) -> SummaryAnswer {
        let at: DateTime<Utc> = "2024-09-30T21:00:00Z".parse().unwrap();
        SummaryAnswer {
            id: Uuid::nil(),
            kind: "train".into(),
            state: state.into(),
            arguments: json!({"walk": false}),
            reason: "asked on the command line".into(),
            slot: None,
            priority: 0,
            attempt: 1,
            max_attempts: 3,
            created_at: at,
            started_at: Some(at + TimeDelta::seconds(2)),
            finished_at: (state != "running").then(|| at + TimeDelta::seconds(194)),
            worker: Some("here/7".into()),
            renewed_at: None,
            heartbeat_age_seconds: (state == "running").then_some(4),
            cancel_requested_at: None,
            progress: Some(Progress { phase: "train".into(), done: 3, total: Some(8), note: Some("member 4".into()) }),
            error: (state == "failed").then(|| "out of memory\nmore".into()),
            result: (state == "succeeded").then(|| json!({"model_id": "2024-09-30.3f9c"})),
        }
    }

    #[test]
    fn a_list_has_a_line_a_job_with_what_matters_of_it() {
        let now = job("running").created_at + TimeDelta::seconds(3725);
        let text = list(&[job("running"), job("failed"), job("succeeded")], true, now);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("1 h 02 min") && lines[1].ends_with("1/3  train 3/8, member 4"), "{text}");
        assert!(lines[2].contains("3 min 12 s") && lines[2].ends_with("out of memory"), "{text}");
        assert!(lines[3].ends_with("1/3") && lines[4].contains("--limit"), "{text}");
    }

    #[test]
    fn one_job_is_told_with_its_runs() {
        let at = job("failed").created_at;
        let attempts = vec![Attempt {
            attempt: 1,
            worker: "here/7".into(),
            started_at: at,
            finished_at: at + TimeDelta::milliseconds(1500),
            outcome: "lost".into(),
            error: Some("not heard of".into()),
        }];
        let text = one(&JobAnswer { summary: job("failed"), attempts }, at);
        for part in ["state      failed, run 1 of at most 3\n", "  1  lost ", "1.5 s  here/7: not heard of\n"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("heard of   "), "{text}");
        assert!(one(&JobAnswer { summary: job("running"), attempts: vec![] }, at).contains("heard of   4.0 s ago"));
    }

    #[test]
    fn an_ending_says_why() {
        let id = Uuid::nil();
        for (job, told) in [
            (job("succeeded"), format!("train {id} has succeeded: {{\"model_id\":\"2024-09-30.3f9c\"}}")),
            (job("failed"), format!("train {id} has failed: out of memory\nmore")),
            (
                SummaryAnswer { attempt: 3, ..job("failed") },
                format!("train {id} failed after 3 runs: out of memory\nmore"),
            ),
            (job("cancelled"), format!("train {id} was cancelled")),
        ] {
            assert_eq!(ending(&job), told);
        }
    }
}
