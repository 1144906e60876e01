//! A process of PyTorch that is asked by lines and answers by lines: scripts/bench-pytorch.py.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;

/// A process of PyTorch.
pub struct Worker {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// What it is, in words.
    pub version: String,
}

impl Worker {
    /// Starts it on a file of rows and waits until it is ready.
    pub fn start(python: &Path, file: &Path, threads: usize) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench-pytorch.py");
        let mut command = Command::new(python);
        command.arg(script).arg(file).arg(threads.to_string()).env("OMP_NUM_THREADS", threads.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().context("PyTorch has no standard input")?;
        let answers = child.stdout.take().context("PyTorch has no standard output")?;
        let mut worker = Self { child, questions, answers: BufReader::new(answers).lines(), version: String::new() };
        let ready = worker.answer()?;
        worker.version = ready.strip_prefix("ready ").with_context(|| format!("PyTorch says {ready}"))?.to_owned();
        Ok(worker)
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        Ok(self.answers.next().context("PyTorch ended; its error is above")??)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks all at once; the numbers that each answers.
pub fn ask(workers: &mut [Worker], question: &str) -> anyhow::Result<Vec<Vec<f64>>> {
    for worker in workers.iter_mut() {
        writeln!(worker.questions, "{question}")?;
    }
    let numbers = |worker: &mut Worker| Ok(worker.answer()?.split(' ').map(str::parse).collect::<Result<_, _>>()?);
    workers.iter_mut().map(numbers).collect()
}
