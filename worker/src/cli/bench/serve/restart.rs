//! What a kept prompt saves after a restart: a worker of its own is started twice for each round.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use fazai::Worker;

use super::side::{Question, Side, Timed};

/// Starts a worker that keeps its prompts in such a directory.
pub(super) type Starter = Box<dyn Fn(&Path) -> anyhow::Result<Worker>>;

/// A prompt is written after its answer; a disk should need less than this.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// How often is looked whether it is written.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The answer before the restart, and the same question's after it.
pub(super) async fn answers(start: &Starter, question: &Question) -> anyhow::Result<[Timed; 2]> {
    let store = tempfile::tempdir()?;
    let cold = answer(start, question, store.path(), true).await?;
    let warm = answer(start, question, store.path(), false).await?;
    let (cached, read) = (warm.counts.cached_tokens, warm.counts.prompt_tokens);
    ensure!(
        cached * 10 >= read * 9,
        "only {cached} of {read} tokens were there after the restart"
    );
    Ok([cold, warm])
}

/// Asks a worker that has just loaded its model.
async fn answer(
    start: &Starter,
    question: &Question,
    store: &Path,
    writes: bool,
) -> anyhow::Result<Timed> {
    let worker = start(store)?;
    worker.warm_up().await?;
    let side = Side::Ours(worker.client(), None);
    let answer = side.answer(question).await?;
    drop(side);
    if writes {
        written(store).await?;
    }
    worker.stop().await;
    Ok(answer)
}

/// Waits for a prompt. Its file gets its name when all of it is there.
async fn written(store: &Path) -> anyhow::Result<()> {
    let asked = Instant::now();
    loop {
        for file in fs::read_dir(store)? {
            if file?.path().extension().is_some_and(|end| end == "kv") {
                return Ok(());
            }
        }
        ensure!(asked.elapsed() < WRITE_TIME, "the prompt was not kept");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::stand_in::scripted_worker;
    use super::*;

    fn question() -> Question {
        Question {
            instructions: Some("You watch the logs of a server. ".repeat(30)),
            ..Question::new("Well?".to_owned(), 1)
        }
    }

    #[tokio::test]
    async fn the_second_worker_finds_what_the_first_one_kept_and_nothing_stays() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let start: Starter = Box::new(move |store| {
            noted.lock().expect("a list").push(store.to_owned());
            Ok(scripted_worker(Some(store)))
        });
        let [cold, warm] = answers(&start, &question()).await.expect("two answers");
        assert_eq!(cold.counts.cached_tokens, 0);
        assert!(warm.counts.cached_tokens > 900, "{:?}", warm.counts);
        let seen = seen.lock().expect("a list");
        assert_eq!(seen.len(), 2);
        assert!(seen[0] == seen[1] && !seen[0].exists(), "{seen:?}");
    }

    #[tokio::test]
    async fn a_prompt_that_is_not_there_after_the_restart_is_told() {
        let calls = Mutex::new(0);
        let start: Starter = Box::new(move |store| {
            let mut calls = calls.lock().expect("a count");
            *calls += 1;
            Ok(scripted_worker((*calls == 1).then_some(store)))
        });
        let fault = answers(&start, &question()).await.expect_err("cold twice");
        assert!(fault.to_string().contains("only 0 of"), "{fault}");
    }
}
