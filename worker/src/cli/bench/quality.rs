//! `fazai bench quality`: how well a model does the worker's own jobs, on held-out cases.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use fazai_models::tasks::{ANSWER, LIMITS, PLAN, TRIAGE, Task};
use fazai_protocol::client::{Client, ClientError};
use fazai_protocol::{Ask, AskParams, FinishReason, Think};
use futures_util::StreamExt;
use indicatif::ProgressBar;
use regex::RegexBuilder;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Report, Subject, describe};

/// Measure how well a model does the worker's own jobs, on cases that it never saw
#[derive(Debug, Args)]
#[command(after_help = "\
triage   severity, category and action of an event, exactly
plan     the first step of a plan is one of those that are right
answer   the key fact is in the answer; a refusal of these is wrong
limits   a question outside of the built-in model's jobs is recognised as such; a large model
         that answers them is not wrong, so the figure means little for it

Every answer is the likeliest one (temperature 0), and JSON is held to its schema.

Examples:
  fazai bench quality --model builtin
  fazai bench quality --model qwen3:0.6b --limit 50 --wrong wrong.jsonl")]
pub(super) struct Quality {
    #[command(flatten)]
    subject: Subject,
    /// Only the first N cases of each job
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write the cases that went wrong to this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    wrong: Option<PathBuf>,
}

/// Requests under way at once.
const SLOTS: u32 = 8;

/// More than any right answer takes.
const OUTPUT_TOKENS: u32 = 400;

/// One line of a set; which keys it has depends on the job.
#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    input: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    action: String,
    /// Regular expressions for the first step.
    #[serde(default)]
    first: Vec<String>,
    /// Regular expressions for the key fact.
    #[serde(default)]
    key: Vec<String>,
}

/// What a model made of a case.
struct Attempt {
    text: String,
    /// It ended by itself.
    whole: bool,
}

/// Whether one thing about an attempt is as it should be.
type Mark = (&'static str, bool);

/// How often a mark was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Figure {
    job: &'static str,
    name: &'static str,
    yes: usize,
    of: usize,
}

/// A job and how its attempts are marked.
struct Job {
    task: Task,
    /// The marks; the first of them decides whether the case went wrong.
    mark: fn(&Case, &Attempt) -> anyhow::Result<Vec<Mark>>,
}

const JOBS: [Job; 4] = [
    Job {
        task: TRIAGE,
        mark: mark_triage,
    },
    Job {
        task: PLAN,
        mark: mark_plan,
    },
    Job {
        task: ANSWER,
        mark: mark_answer,
    },
    Job {
        task: LIMITS,
        mark: mark_limits,
    },
];

impl Quality {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let report = super::super::block_on(self.measure())?;
        self.subject.print(&report)
    }

    async fn measure(&self) -> anyhow::Result<Report> {
        let mut wrong = self.wrong.as_ref().map(create).transpose()?;
        let worker = self.subject.worker(SLOTS, OUTPUT_TOKENS).await?;
        let client = worker.client();
        let model = describe(&client).await?;
        let sets = JOBS.map(|job| self.cases(&job.task).map(|cases| (job, cases)));
        let sets: Vec<(Job, Vec<Case>)> = sets.into_iter().collect::<anyhow::Result<_>>()?;
        let total: usize = sets.iter().map(|(_, cases)| cases.len()).sum();
        let bar = ProgressBar::new(total as u64);
        let began = Instant::now();
        let mut figures = Vec::new();
        for (job, cases) in &sets {
            let params = params(&job.task)?;
            let mut attempts = futures_util::stream::iter(cases)
                .map(|case| attempt(&client, &params, case))
                .buffered(SLOTS as usize);
            let mut asked = cases.iter();
            while let (Some(attempt), Some(case)) = (attempts.next().await, asked.next()) {
                let attempt = attempt?;
                let marks = (job.mark)(case, &attempt).with_context(|| case.id.clone())?;
                if let (Some(wrong), Some((_, false))) = (&mut wrong, marks.first()) {
                    let line =
                        json!({ "id": case.id, "input": case.input, "result": attempt.text });
                    writeln!(wrong, "{line}")?;
                }
                count(&mut figures, job.task.name, &marks);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        let took = began.elapsed();
        drop(client);
        worker.stop().await;
        Ok(report(&model, &figures, took))
    }

    fn cases(&self, task: &Task) -> anyhow::Result<Vec<Case>> {
        let lines = task.cases.lines().take(self.limit.unwrap_or(usize::MAX));
        let cases = lines.map(serde_json::from_str).collect::<Result<_, _>>();
        cases.with_context(|| format!("the cases of {}", task.name))
    }
}

fn create(path: &PathBuf) -> anyhow::Result<File> {
    File::create(path).with_context(|| path.display().to_string())
}

/// What every request of a job has in common.
fn params(task: &Task) -> anyhow::Result<AskParams> {
    Ok(AskParams {
        system: task.prompt.map(|prompt| prompt.trim().to_owned()),
        json_schema: task.schema.map(serde_json::from_str).transpose()?,
        max_tokens: Some(OUTPUT_TOKENS),
        temperature: Some(0.0),
        think: Some(Think::Off),
        ..AskParams::default()
    })
}

async fn attempt(client: &Client, params: &AskParams, case: &Case) -> anyhow::Result<Attempt> {
    let ask = Ask {
        params: params.clone(),
        ..Ask::new(case.input.as_str())
    };
    match client.ask(ask).await?.done().await {
        Ok(done) => Ok(Attempt {
            text: done.result.unwrap_or_default(),
            whole: done.finish_reason == Some(FinishReason::Stop),
        }),
        // What a model can't take is its fault; a worker that is gone is not.
        Err(ClientError::Refused(error)) if !error.retryable => Ok(Attempt {
            text: error.message,
            whole: false,
        }),
        Err(fault) => Err(fault.into()),
    }
}

fn mark_triage(case: &Case, attempt: &Attempt) -> anyhow::Result<Vec<Mark>> {
    let found = object(attempt);
    let is = |key: &str, wanted: &str| found[key] == wanted;
    Ok(vec![
        ("severity", is("severity", &case.severity)),
        ("category", is("category", &case.category)),
        ("action", is("action", &case.action)),
        ("valid JSON", found.is_object()),
    ])
}

fn mark_plan(case: &Case, attempt: &Attempt) -> anyhow::Result<Vec<Mark>> {
    let found = object(attempt);
    let step = &found["steps"][0];
    let text = match step["type"].as_str() {
        Some("use_tool") => format!("tool:{}", step["name"].as_str().unwrap_or_default()),
        _ => step["command"].as_str().unwrap_or_default().to_owned(),
    };
    Ok(vec![
        ("first step", matches(&case.first, &text)?),
        ("valid JSON", found.is_object()),
    ])
}

fn mark_answer(case: &Case, attempt: &Attempt) -> anyhow::Result<Vec<Mark>> {
    let refused = is_refusal(&attempt.text);
    Ok(vec![
        ("key fact", matches(&case.key, &attempt.text)? && !refused),
        ("wrongly refused", refused),
    ])
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands in a table with the others"
)]
fn mark_limits(_: &Case, attempt: &Attempt) -> anyhow::Result<Vec<Mark>> {
    Ok(vec![("recognised", is_refusal(&attempt.text))])
}

/// The answer as JSON; `null` if it is none, or was cut.
fn object(attempt: &Attempt) -> Value {
    let value = attempt
        .whole
        .then(|| serde_json::from_str(&attempt.text).ok());
    value.flatten().unwrap_or_default()
}

fn matches(patterns: &[String], text: &str) -> anyhow::Result<bool> {
    for pattern in patterns {
        let regex = RegexBuilder::new(pattern).case_insensitive(true).build()?;
        if regex.is_match(text) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The sentence with which the built-in model says what it is.
fn is_refusal(text: &str) -> bool {
    text.contains("built-in model") && text.contains("fazai models pull")
}

fn count(figures: &mut Vec<Figure>, job: &'static str, marks: &[Mark]) {
    for &(name, yes) in marks {
        let known = figures
            .iter()
            .position(|figure| figure.job == job && figure.name == name);
        let at = known.unwrap_or_else(|| {
            figures.push(Figure {
                job,
                name,
                yes: 0,
                of: 0,
            });
            figures.len() - 1
        });
        figures[at].of += 1;
        figures[at].yes += usize::from(yes);
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred cases")]
fn percent(figure: &Figure) -> f64 {
    100.0 * figure.yes as f64 / figure.of.max(1) as f64
}

fn report(model: &Value, figures: &[Figure], took: Duration) -> Report {
    let heading = ["", "figure", "%", "cases"].map(str::to_owned).to_vec();
    let rows = figures.iter().map(|figure| {
        vec![
            figure.job.to_owned(),
            figure.name.to_owned(),
            format!("{:.1}", percent(figure)),
            format!("{} of {}", figure.yes, figure.of),
        ]
    });
    let list = figures.iter().map(|figure| {
        json!({
            "job": figure.job,
            "figure": figure.name,
            "percent": percent(figure),
            "yes": figure.yes,
            "of": figure.of,
        })
    });
    Report {
        heading: format!(
            "{}, {:.0} s",
            model["title"].as_str().unwrap_or("?"),
            took.as_secs_f64()
        ),
        json: json!({
            "model": model,
            "seconds": took.as_secs_f64(),
            "figures": list.collect::<Vec<_>>(),
        }),
        table: std::iter::once(heading).chain(rows).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

    use super::*;

    fn case(value: &Value) -> Case {
        let mut case = json!({ "id": "1", "input": "?" });
        case.as_object_mut()
            .unwrap()
            .extend(value.as_object().unwrap().clone());
        serde_json::from_value(case).unwrap()
    }

    fn whole(text: &str) -> Attempt {
        Attempt {
            text: text.to_owned(),
            whole: true,
        }
    }

    #[test]
    fn every_committed_case_can_be_read_and_its_patterns_compile() {
        for job in JOBS {
            for line in job.task.cases.lines() {
                let case: Case = serde_json::from_str(line).unwrap();
                (job.mark)(&case, &whole("nothing")).unwrap();
            }
        }
    }

    #[test]
    fn a_triage_is_right_key_by_key_and_cut_json_is_not_valid() {
        let case = case(&json!({ "severity": "low", "category": "web", "action": "alert" }));
        let text = r#"{"severity":"low","category":"dos","action":"alert"}"#;
        let marks = mark_triage(&case, &whole(text)).unwrap();
        assert_eq!(marks.map_bools(), [true, false, true, true]);
        let cut = Attempt {
            text: text.to_owned(),
            whole: false,
        };
        let marks = mark_triage(&case, &cut).unwrap();
        assert_eq!(marks.map_bools(), [false; 4]);
    }

    #[test]
    fn the_first_step_counts_and_no_other() {
        let case = case(&json!({ "first": ["^ss\\b", "^tool:ports_monitor$"] }));
        let plan = |steps: Value| json!({ "steps": steps }).to_string();
        let shell = |command: &str| json!({ "type": "shell", "command": command });
        let right = plan(json!([shell("ss -tln"), shell("ls")]));
        let wrong = plan(json!([shell("ls"), shell("ss -tln")]));
        let tool = plan(json!([{ "type": "use_tool", "name": "ports_monitor" }]));
        for (text, is) in [(right, true), (wrong, false), (tool, true)] {
            assert_eq!(mark_plan(&case, &whole(&text)).unwrap()[0].1, is, "{text}");
        }
    }

    #[test]
    fn a_refusal_is_no_answer_even_with_the_key_in_it() {
        let case = case(&json!({ "key": ["small"] }));
        let text = "I am the small built-in model; try `fazai models pull qwen3:0.6b`.";
        let marks = mark_answer(&case, &whole(text)).unwrap();
        assert_eq!(marks.map_bools(), [false, true]);
        assert!(mark_answer(&case, &whole("a SMALL one")).unwrap()[0].1);
    }

    trait Bools {
        fn map_bools(&self) -> Vec<bool>;
    }

    impl Bools for Vec<Mark> {
        fn map_bools(&self) -> Vec<bool> {
            self.iter().map(|mark| mark.1).collect()
        }
    }
}
