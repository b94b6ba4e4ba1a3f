//! `fazai bench serve`: what clients of a worker get, beside what another server gives them.

mod cases;
mod ours;
mod peer;
mod prompts;
mod report;
mod restart;
mod round;
mod side;
mod sse;
#[cfg(test)]
mod stand_in;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use fazai::Worker;
use fazai_protocol::client::{Client, Endpoint};
use indicatif::ProgressBar;

use self::cases::{Case, Sizes};
use self::peer::{Api, Peer};
use self::prompts::Prompts;
use self::report::{Compared, Measured};
use self::restart::Starter;
use self::round::{Round, Turn};
use self::side::Side;
use super::{Machine, Subject, describe};

/// Measure what many clients get, and compare it with another server
#[derive(Debug, Args)]
#[command(after_help = "\
Both sides get the same prompts, without a chat template and at temperature 0, and take turns:
ours, theirs, ours, theirs. Every prompt is new in every round and in every run, but for `json`:
all of its requests begin with the same instructions, as an agent's do, and only the event after
them is new. The round to warm up reads them; a server that keeps prompts has them afterwards.
The new text of `quote` has temperature 1, so that it does not repeat itself. The quoted one is
the side's own answer, which stands in the second prompt.

Times are the client's, from sending a request to the first text or to the end. `streams` counts
the tokens of all streams from the first request to the last answer. A server without priorities
gets the requests of `priority` as plain ones, with all its slots busy if it has 8.

`restart` asks the worker alone. It starts two more of them in turn inside this program, with the
same settings and one slot, that keep the prompt in a directory of their own; their model is
loaded before they are asked. It is left out with --socket.

Ctrl-C ends it with the cases that are complete.

The worker runs inside this program unless --socket names a running one. Run the peer with the
same model, threads and slots, and with a context for each slot that is as long:

  llama-server -m model.gguf -t 2 -np 8 -c 16384 --kv-unified --host 127.0.0.1 --port 18080

Examples:
  fazai bench serve --model ./model.gguf
  fazai bench serve --model ./model.gguf --peer http://127.0.0.1:18080
  fazai bench serve --socket /run/fazai/gemma.sock --case stream --case shared --repeats 9
  fazai bench serve --peer http://127.0.0.1:8000 --peer-api openai --format markdown")]
pub(super) struct Serve {
    #[command(flatten)]
    subject: Subject,
    /// Requests that the worker serves at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: u32,
    /// Measure the worker on this Unix socket, as it was started
    #[arg(long, value_name = "PATH", conflicts_with_all = ["model", "threads", "backend", "slots"])]
    socket: Option<PathBuf>,
    /// Compare with the server at this address
    #[arg(long, value_name = "URL")]
    peer: Option<String>,
    /// How the peer is asked [default: as llama-server if it has /props]
    #[arg(long, value_enum, requires = "peer")]
    peer_api: Option<Api>,
    /// The model's name at a peer that wants one [default: the first of /v1/models]
    #[arg(long, value_name = "NAME", requires = "peer")]
    peer_model: Option<String>,
    /// What is measured; may be given several times [default: everything]
    #[arg(long = "case", value_name = "NAME", value_enum)]
    cases: Vec<Case>,
    /// How often each is measured, after one round to warm up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Ask the same texts as the run that had this seed [default: new ones]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// The sides in the order of their turns, with their names in notes.
struct Sides {
    ours: Side,
    theirs: Option<Side>,
}

impl Serve {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let measured = super::super::block_on(self.measure())?;
        self.subject.print(&measured.report())?;
        measured.machine.warn()?;
        match measured.failures.len() {
            _ if measured.interrupted => Err(super::super::Interrupted.into()),
            0 => Ok(()),
            count => Err(anyhow::anyhow!("{count} cases could not be measured")),
        }
    }

    async fn measure(&self) -> anyhow::Result<Measured> {
        let (cases, note) = cases(&self.cases, self.socket.is_none())?;
        // First, because it fails sooner than a model is loaded.
        let peer = match &self.peer {
            Some(url) => Some(Peer::connect(url, self.peer_api, self.peer_model.clone()).await?),
            None => None,
        };
        let (client, worker) = self.ours().await?;
        let mut measured = Measured {
            machine: Machine::here(),
            model: describe(&client).await?,
            peer: peer
                .as_ref()
                .map(|peer| (peer.heading(), peer.about.clone())),
            repeats: self.repeats,
            seed: self.seed.unwrap_or_else(rand::random),
            ..Measured::default()
        };
        note.into_iter().for_each(|note| measured.note(note));
        let ours = measured.model["context_tokens"].as_u64();
        let theirs = peer.as_ref().and_then(Peer::context_tokens);
        let sizes = Sizes::within(ours.into_iter().chain(theirs).min().unwrap_or(u64::MAX));
        let prompts = Prompts::new(client.clone(), measured.seed);
        let sides = Sides {
            ours: Side::Ours(client, self.starter()?),
            theirs: peer.map(Side::Theirs),
        };
        // A comparison takes long, and what is measured so far is worth having.
        let interrupted = tokio::select! {
            compared = self.compare(&cases, &sides, &prompts, &sizes, &mut measured) => {
                compared?;
                false
            }
            _ = tokio::signal::ctrl_c() => true,
        };
        measured.interrupted = interrupted;
        drop((sides, prompts));
        if let Some(worker) = worker {
            worker.stop().await;
        }
        Ok(measured)
    }

    /// The worker that is measured, and what must be stopped afterwards.
    async fn ours(&self) -> anyhow::Result<(Client, Option<Worker>)> {
        if let Some(path) = &self.socket {
            let endpoint = Endpoint::Unix(path.clone());
            let client = Client::connect(&endpoint).await;
            let client = client.map_err(|fault| {
                anyhow::Error::new(fault).context(format!("no worker answers on {endpoint}"))
            })?;
            return Ok((client, None));
        }
        let worker = self.subject.worker(self.slots, 0).await?;
        Ok((worker.client(), Some(worker)))
    }

    /// How workers like the one that is measured are started, unless that was done elsewhere.
    fn starter(&self) -> anyhow::Result<Option<Starter>> {
        if self.socket.is_some() {
            return Ok(None);
        }
        let mut settings = self.subject.settings()?;
        settings.model.slots = 1;
        Ok(Some(Box::new(move |store| {
            let mut settings = settings.clone();
            settings.model.prompt_store = store.to_owned();
            settings.model.prompt_store_bytes_max = u64::MAX;
            Ok(Worker::start(settings))
        })))
    }

    async fn compare(
        &self,
        cases: &[Case],
        sides: &Sides,
        prompts: &Prompts,
        sizes: &Sizes,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let steps = cases.len() as u64 * u64::from(self.repeats + 1);
        let bar = ProgressBar::new(steps);
        for &case in cases {
            let rows = case.rows(sizes).into_iter().map(Compared::new);
            let mut comparison = Comparison {
                case,
                rows: rows.collect(),
                failed: [false; 2],
            };
            for round in 0..=self.repeats {
                let questions = Round::prepare(case, round, prompts, sizes).await?;
                comparison
                    .round(&questions, sides, round > 0, measured)
                    .await;
                bar.inc(1);
            }
            measured.rows.extend(comparison.rows);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// What is measured, and what a reader should know about the rest.
fn cases(wanted: &[Case], starts_workers: bool) -> anyhow::Result<(Vec<Case>, Option<String>)> {
    let all = if wanted.is_empty() {
        Case::value_variants()
    } else {
        wanted
    };
    let possible = |case: &Case| starts_workers || !case.starts_workers();
    let (can, cannot): (Vec<Case>, Vec<Case>) = all.iter().copied().partition(possible);
    let note = cannot.first().map(|case| {
        let name = case.name();
        format!("{name} starts workers of its own, so it can't be measured with --socket")
    });
    match note {
        Some(note) if !wanted.is_empty() => bail!(note),
        note => Ok((can, note)),
    }
}

/// A case while it is measured.
struct Comparison {
    case: Case,
    rows: Vec<Compared>,
    /// Which sides, ours first, could not do it; they are not asked again.
    failed: [bool; 2],
}

impl Comparison {
    /// Asks both sides. The first round only warms up.
    async fn round(
        &mut self,
        questions: &Round,
        sides: &Sides,
        counts: bool,
        measured: &mut Measured,
    ) {
        let ours = self.turn(0, questions, Some(&sides.ours), measured).await;
        let peer = sides.theirs.as_ref();
        let peer = peer.filter(|_| !self.case.starts_workers());
        let theirs = self.turn(1, questions, peer, measured).await;
        if !counts {
            return;
        }
        for (index, row) in self.rows.iter_mut().enumerate() {
            let figure = |turn: &Option<Turn>| turn.as_ref()?.figures.get(index).copied();
            row.push(figure(&ours), figure(&theirs));
        }
    }

    async fn turn(
        &mut self,
        which: usize,
        questions: &Round,
        side: Option<&Side>,
        measured: &mut Measured,
    ) -> Option<Turn> {
        let side = side.filter(|_| !self.failed[which])?;
        let name = ["ours", "theirs"][which];
        match questions.ask(side).await {
            Ok(turn) => {
                for note in &turn.notes {
                    measured.note(format!("{}, {name}: {note}", self.case.name()));
                }
                Some(turn)
            }
            Err(fault) => {
                self.failed[which] = true;
                let case = self.case.name();
                measured.failures.push(format!("{case}, {name}: {fault:#}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::stand_in::{PROPS, scripted_client, stand_in};
    use super::*;

    #[test]
    fn a_running_worker_is_not_restarted() {
        let (all, note) = cases(&[], true).expect("all");
        assert!(all.contains(&Case::Restart) && note.is_none(), "{all:?}");
        let (some, note) = cases(&[], false).expect("the others");
        assert_eq!(some.len(), all.len() - 1);
        assert!(note.is_some_and(|note| note.contains("--socket")));
        let fault = cases(&[Case::Stream, Case::Restart], false).expect_err("it was wanted");
        assert!(fault.to_string().contains("restart"), "{fault}");
        let (some, note) = cases(&[Case::Stream], false).expect("possible");
        assert!(some == [Case::Stream] && note.is_none(), "{note:?}");
    }

    #[tokio::test]
    async fn a_peer_that_fails_is_not_asked_again_and_costs_its_column_only() {
        let (url, mut bodies) = stand_in(|path| match path {
            "/props" => (200, "application/json", PROPS.to_owned()),
            _ => (500, "application/json", r#"{"error":"no"}"#.to_owned()),
        })
        .await;
        let client = scripted_client();
        let prompts = Prompts::new(client.clone(), 1);
        let sides = Sides {
            ours: Side::Ours(client, None),
            theirs: Some(Side::Theirs(
                Peer::connect(&url, None, None).await.expect("a peer"),
            )),
        };
        let sizes = Sizes::within(2_048);
        let mut measured = Measured::default();
        let mut comparison = Comparison {
            case: Case::Quote,
            rows: vec![Compared::new(Case::Quote.rows(&sizes).remove(0))],
            failed: [false; 2],
        };
        for round in 0..3 {
            let questions = Round::prepare(Case::Quote, round, &prompts, &sizes).await;
            let questions = questions.expect("questions");
            comparison
                .round(&questions, &sides, round > 0, &mut measured)
                .await;
        }
        assert_eq!(
            measured.failures,
            ["quote, theirs: the peer answered 500: no"]
        );
        measured.rows = comparison.rows;
        let figure = &measured.report().json["figures"][0];
        assert_eq!(figure["ours"]["runs"], 2, "{figure}");
        assert!(figure["theirs"].is_null(), "{figure}");
        bodies.recv().await.expect("of /props");
        bodies.recv().await.expect("of the first question");
        assert!(bodies.try_recv().is_err(), "there was a second question");
    }
}
