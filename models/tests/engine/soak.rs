//! Thousands of requests of every kind, and nothing is left behind.

use std::time::Duration;

use fazai_models::grammar::GrammarSource;
use fazai_models::job::{Event, FinishReason, JobError, Priority, UserId, Work};
use fazai_models::load::ModelSource;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use crate::{Running, Setup, try_collect};

/// How many requests; `FAZAI_SOAK_REQUESTS` asks for more.
const REQUESTS: usize = 600;
/// How many at once.
const AT_ONCE: usize = 24;

fn requests() -> usize {
    let wish = std::env::var("FAZAI_SOAK_REQUESTS").ok();
    wish.and_then(|wish| wish.parse().ok()).unwrap_or(REQUESTS)
}

/// Memory of this process that is in use, in bytes.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number") * 4_096
}

#[derive(Debug, Default)]
struct Seen {
    finished: usize,
    cancelled: usize,
    late: usize,
    left: usize,
    objects: usize,
}

/// One request of a random kind, to the end that it deserves.
async fn one(running: &Running, rng: &mut ChaCha8Rng, seen: &mut Seen, tasks: &mut JoinSet<Seen>) {
    let heads = [
        "",
        "A long head that many requests share with each other, word for word. ",
    ];
    let head = heads[rng.random_range(0..2)].repeat(rng.random_range(1..6));
    let text = format!("{head}request {}", rng.random_range(0..50));
    let mut request = running.request(&text, rng.random_range(1..24));
    request.user = UserId(rng.random_range(0..4));
    request.priority = match rng.random_range(0..6) {
        0 => Priority::High,
        1 | 2 => Priority::Low,
        _ => Priority::Normal,
    };
    request.deadline_ms = (rng.random_range(0..8) == 0).then(|| rng.random_range(1..60));
    let Work::Generate(generate) = &mut request.work else {
        unreachable!("a request for text");
    };
    generate.logprobs = None;
    let object = rng.random_range(0..4) == 0;
    if object {
        let schema = serde_json::json!({
            "type": "object",
            "properties": { "severity": { "enum": ["low", "high"] }, "seen": { "type": "boolean" } },
            "required": ["severity", "seen"],
            "additionalProperties": false,
        });
        generate.grammar = Some(GrammarSource::JsonSchema(schema));
        generate.ignore_end = false;
        generate.max_tokens = 40;
    }
    generate.sampling.temperature = if rng.random_range(0..2) == 0 {
        0.0
    } else {
        0.8
    };
    generate.sampling.seed = rng.random();
    let mut stream = running.submit(request).await;
    match rng.random_range(0..6) {
        // Leaves without a word, at once or in the middle.
        0 => {
            for _ in 0..rng.random_range(0..4) {
                stream.next().await;
            }
            seen.left += 1;
        }
        // Cancels, and reads to the end.
        1 => {
            if let Some(Event::Failed(fault)) = stream.next().await {
                seen.add(&refused(&fault));
                return;
            }
            stream.cancel();
            tasks.spawn(async move {
                let (_, outcome) = try_collect(stream).await;
                match outcome {
                    Ok(outcome) if outcome.reason == FinishReason::Cancelled => Seen {
                        cancelled: 1,
                        ..Seen::default()
                    },
                    Ok(outcome) => ended(outcome.reason, false, ""),
                    Err(fault) => refused(&fault),
                }
            });
        }
        _ => {
            let slow = rng.random_range(0..20) == 0;
            tasks.spawn(async move {
                let mut text = String::new();
                while let Some(event) = stream.next().await {
                    match event {
                        Event::Text { text: piece, .. } => text.push_str(&piece),
                        Event::Finished(outcome) => return ended(outcome.reason, object, &text),
                        Event::Failed(fault) => return refused(&fault),
                        _ => {}
                    }
                    if slow {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                panic!("no last event");
            });
        }
    }
}

/// A deadline that can't be met is refused; nothing else may fail.
fn refused(fault: &JobError) -> Seen {
    assert!(
        matches!(fault, JobError::WouldMissDeadline { .. }),
        "{fault}"
    );
    Seen {
        late: 1,
        ..Seen::default()
    }
}

fn ended(reason: FinishReason, object: bool, text: &str) -> Seen {
    let whole = object && reason == FinishReason::Stop;
    if whole {
        let value: serde_json::Value = serde_json::from_str(text).expect("valid JSON");
        assert!(
            value["severity"].is_string() && value["seen"].is_boolean(),
            "{text}"
        );
    }
    Seen {
        late: usize::from(reason == FinishReason::Deadline),
        finished: usize::from(reason != FinishReason::Deadline),
        objects: usize::from(whole),
        ..Seen::default()
    }
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.finished += other.finished;
        self.cancelled += other.cancelled;
        self.late += other.late;
        self.left += other.left;
        self.objects += other.objects;
    }
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let setup = Setup {
        speculation: true,
        // Less room than the slots could use, so that requests wait for cells too.
        kv_cache_bytes: 3 << 20,
        ..Setup::default()
    };
    let running = setup.start(&ModelSource::Builtin);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut seen = Seen::default();
    let mut tasks = JoinSet::new();
    let total = requests();
    let mut warm = 0;
    for number in 0..total {
        if number == total / 4 {
            warm = resident_bytes();
        }
        one(&running, &mut rng, &mut seen, &mut tasks).await;
        while tasks.len() >= AT_ONCE {
            let done = tasks.join_next().await.expect("there is one");
            seen.add(&done.expect("no panic"));
        }
    }
    while let Some(done) = tasks.join_next().await {
        seen.add(&done.expect("no panic"));
    }
    let stats = running.handle.stats();
    let idle = tokio::time::timeout(Duration::from_secs(20), async {
        while stats.slots_busy() + stats.waiting() + stats.paused() + stats.cells_live() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    idle.await.expect("no slot, place or cell is left taken");
    let grown = resident_bytes().saturating_sub(warm) >> 20;
    println!(
        "{total} requests: {seen:?}, {} pauses, {grown} MiB more",
        stats.pauses()
    );
    assert_eq!(
        seen.finished + seen.cancelled + seen.late + seen.left,
        total
    );
    assert!(stats.cells_used() <= stats.cells());
    assert!(grown < 24, "the process grew by {grown} MiB");
    // And it still answers.
    let (chosen, _) = running.run(running.request("still there?", 4)).await;
    assert_eq!(chosen.len(), 4);
}
