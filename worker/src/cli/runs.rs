//! `fazai runs`: the runs of plans that a worker keeps.

use clap::{Args, Subcommand};
use fazai_protocol::{Done, Operation, RunsCall};

use super::{Worker, ask, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A run is kept until runs_max newer ones have come. After a crash of the worker it goes on behind the
last step that began; no step is done twice.

Examples:
  fazai runs list
  fazai runs show 3f2a9c01d4e5b678        the whole id, from the list
  fazai runs resume 3f2a9c01d4e5b678")]
pub(crate) enum Runs {
    /// List the runs and how they stand
    List(List),
    /// Show what a run has done, and what is left
    Show(Named),
    /// Let a run wait before its next step
    Pause(Named),
    /// Go on with a run that was paused, stopped or interrupted
    Resume(Named),
    /// End a run for good
    Cancel(Named),
}

/// List the runs and how they stand
#[derive(Debug, Args)]
pub(crate) struct List {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// One run
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its id, from the list
    id: String,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Runs {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(named) => named.run("show"),
            Self::Pause(named) => named.run("pause"),
            Self::Resume(named) => named.resume(),
            Self::Cancel(named) => named.run("cancel"),
        }
    }
}

fn operation(input: String) -> Operation {
    Operation::Runs(Box::new(RunsCall::new(input)))
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let list = operation("list".to_owned());
        let runs = self.worker.call(list)?.data.unwrap_or_default()["runs"].take();
        let rows = runs.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut table = vec![
            ["RUN", "STANDS", "STEPS", "WISH"]
                .map(str::to_owned)
                .to_vec(),
        ];
        table.extend(rows.iter().map(|run| {
            let text = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
            vec![
                text("run"),
                text("stand"),
                run["steps"].to_string(),
                text("wish"),
            ]
        }));
        output::print(self.json, &output::table(&table), &runs)
    }
}

impl Named {
    fn run(&self, verb: &str) -> anyhow::Result<()> {
        let order = operation(format!("{verb} {}", self.id));
        self.worker.print(order, self.json)
    }

    fn resume(&self) -> anyhow::Result<()> {
        let resume = operation(format!("resume {}", self.id));
        follow(&self.worker, resume, self.json)
    }
}

/// Shows the lines of a run as they come, and asks what the policy asks.
pub(super) fn follow(worker: &Worker, run: Operation, json: bool) -> anyhow::Result<()> {
    let mut screen = ask::Screen::new(json);
    let done = worker.follow(run, |line| {
        screen.show(line)?;
        Ok(true)
    })?;
    reached_its_end(&super::succeeded(done)?)
}

/// Fails if this was a run whose steps did not come to a good end. One that failed and was followed
/// by a better one counts for nothing.
pub(super) fn reached_its_end(done: &Done) -> anyhow::Result<()> {
    let Some(run) = done.data.as_ref().filter(|data| data["type"] == "run") else {
        return Ok(());
    };
    let last = run["steps"].as_array().and_then(|steps| steps.last());
    let what = last.map_or("", |step| step["what"].as_str().unwrap_or_default());
    let stood = last.map_or("", |step| step["state"].as_str().unwrap_or_default());
    let why = match (stood, run["stand"].as_str()) {
        ("denied", _) => "the last step was not allowed",
        ("failed", _) => "the last step failed",
        ("unavailable", _) => "there is no such tool",
        ("unknown" | "running", _) => "nobody knows whether the last step was done",
        (_, Some("limited")) => "more was planned than the steps that a run may have; the last was",
        _ => return Ok(()),
    };
    anyhow::bail!("{why}: {}", output::clean(what))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_judged_by_its_last_step() {
        let run = |stand: &str, states: &[&str]| {
            let steps = states
                .iter()
                .map(|state| json!({ "what": "ls", "state": state }));
            let steps: Vec<_> = steps.collect();
            let data = json!({ "type": "run", "stand": stand, "steps": steps });
            let done = json!({
                "action": "done", "action_id": "a", "input": "", "result": "",
                "metadata": { "status": "done" }, "timestamp": "", "source": "local",
                "model": null, "data": data,
            });
            let done: Done = serde_json::from_value(done).expect("a line");
            reached_its_end(&done).map_err(|fault| fault.to_string())
        };
        assert_eq!(run("done", &["done"]), Ok(()));
        assert_eq!(run("done", &["failed", "done"]), Ok(()));
        assert_eq!(run("done", &[]), Ok(()));
        let why = |stand, states: &[&str]| run(stand, states).expect_err("no good end");
        assert_eq!(
            why("done", &["done", "denied"]),
            "the last step was not allowed: ls"
        );
        assert!(why("done", &["failed"]).contains("failed"));
        assert!(why("stopped", &["unknown"]).contains("nobody knows"));
        assert!(why("limited", &["done"]).contains("more was planned"));
    }
}
