//! The engine's promises, on the scripted backend.

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::backend::scripted::{Fault, Script, Scripted, vocabulary};
use crate::chat::{ChatTemplate, Speaker, Turn};
use crate::grammar::GrammarSource;
use crate::job::{FinishReason, Generate, Outcome, Thinking};
use crate::text::{Channel, ThinkTags};

/// An engine that answers "<the user's text> is the question", slowly if asked to.
fn engine(script: Script, slots: u32) -> (EngineHandle, EngineThread) {
    let backend = Box::new(Scripted::new(script));
    start(backend, Arc::new(vocabulary()), options(slots))
}

fn options(slots: u32) -> EngineOptions {
    EngineOptions {
        name: "test".into(),
        slots,
        batch: BatchSizes {
            chunk: 64,
            ..BatchSizes::default()
        },
        speculation: true,
        paused_bytes_max: 1 << 20,
        prompts: None,
        gate: GateLimits {
            waiting_requests_max: 16,
            waiting_prompt_tokens_max: 100_000,
        },
    }
}

fn echo() -> Script {
    Script::answering(|prompt| {
        let user = prompt.rsplit("user\n").next().unwrap_or("");
        let question = user.split('<').next().unwrap_or("");
        format!("{question} is the question")
    })
}

fn prompt(text: &str) -> Vec<u32> {
    let vocabulary = vocabulary();
    let template = ChatTemplate::new(None, &vocabulary).expect("the fallback compiles");
    let turn = Turn {
        role: Speaker::User,
        content: text.to_owned(),
    };
    let prompt = template.prompt(&[turn], false, &vocabulary);
    prompt.expect("a plain turn renders").tokens
}

fn generate(text: &str) -> Generate {
    Generate {
        prompt: prompt(text),
        max_tokens: 800,
        ..Generate::default()
    }
}

fn request(generate: Generate) -> Request {
    Request {
        priority: Priority::Normal,
        user: UserId(1),
        deadline_ms: None,
        work: Work::Generate(Box::new(generate)),
    }
}

/// Reads to the end.
async fn collect(mut stream: EventStream) -> (String, Result<Outcome, JobError>) {
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Text { text: piece, .. } => text.push_str(&piece),
            Event::Finished(outcome) => return (text, Ok(outcome)),
            Event::Failed(fault) => return (text, Err(fault)),
            _ => {}
        }
    }
    panic!("the stream ended without a last event");
}

async fn ask(handle: &EngineHandle, text: &str) -> String {
    let stream = handle.submit(request(generate(text))).await;
    let (answer, outcome) = collect(stream.expect("taken")).await;
    outcome.expect("answered");
    answer
}

#[tokio::test]
async fn many_requests_at_once_each_get_their_own_answer() {
    let (handle, thread) = engine(echo(), 4);
    let questions: Vec<String> = (0..12)
        .map(|n| format!("n{n} {}", "x".repeat(n * 40)))
        .collect();
    let mut streams = Vec::new();
    for question in &questions {
        let stream = handle.submit(request(generate(question))).await;
        streams.push(stream.expect("taken"));
    }
    for (question, stream) in questions.iter().zip(streams) {
        let (answer, outcome) = collect(stream).await;
        assert_eq!(answer, format!("{question} is the question"));
        let outcome = outcome.expect("answered");
        assert_eq!(outcome.reason, FinishReason::Stop);
        assert_eq!(outcome.output_tokens as usize, answer.len());
    }
    assert_eq!(handle.stats().jobs(), 12);
    drop(handle);
    assert!(thread.join());
}

#[tokio::test]
async fn a_queue_that_is_full_says_so_at_once_and_with_a_time() {
    let slow = Script {
        decode_step: Duration::from_millis(50),
        ..echo()
    };
    let (handle, _thread) = engine(slow, 1);
    let mut streams = Vec::new();
    let refusal = loop {
        match handle.submit(request(generate("busy"))).await {
            Ok(stream) => streams.push(stream),
            Err(refusal) => break refusal,
        }
    };
    assert!((16..=18).contains(&streams.len()), "{}", streams.len());
    let SubmitError::Overloaded { retry_after_ms, .. } = refusal else {
        panic!("{refusal}");
    };
    assert!(retry_after_ms >= 50);
    // Those that leave free their places.
    streams.truncate(2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    handle
        .submit(request(generate("again")))
        .await
        .expect("room");
}

#[tokio::test]
async fn a_cancelled_prefill_is_aborted_and_the_engine_is_free() {
    let slow = Script {
        prefill_token: Duration::from_millis(20),
        ..echo()
    };
    let (handle, _thread) = engine(slow, 1);
    let stream = handle
        .submit(request(generate(&"long ".repeat(80))))
        .await
        .expect("taken");
    while handle.stats().slots_busy() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream.cancel();
    let (_, outcome) = collect(stream).await;
    assert_eq!(outcome.expect("ended").reason, FinishReason::Cancelled);
    assert_eq!(handle.stats().decodes_aborted(), 1, "not waited for");
}

#[tokio::test]
async fn cancel_works_in_the_queue_and_while_writing() {
    let slow = Script {
        decode_step: Duration::from_millis(5),
        ..echo()
    };
    let (handle, _thread) = engine(slow, 1);
    let mut writing = handle
        .submit(request(generate("first")))
        .await
        .expect("taken");
    let queued = handle
        .submit(request(generate("second")))
        .await
        .expect("taken");
    while !matches!(writing.next().await, Some(Event::Text { .. })) {}
    queued.cancel();
    let (text, outcome) = collect(queued).await;
    assert_eq!(
        (text.as_str(), outcome.expect("ended").reason),
        ("", FinishReason::Cancelled)
    );
    writing.cancel();
    let (_, outcome) = collect(writing).await;
    let outcome = outcome.expect("ended");
    assert_eq!(outcome.reason, FinishReason::Cancelled);
    assert!(outcome.output_tokens < 10, "{}", outcome.output_tokens);
    assert_eq!(ask(&handle, "third").await, "third is the question");
}

#[tokio::test]
async fn a_reader_that_stops_reading_pauses_only_its_own_slot() {
    let long = Script::answering(|prompt| {
        let times = if prompt.contains("long") { 300 } else { 3 };
        "word ".repeat(times)
    });
    let (handle, _thread) = engine(long, 2);
    let mut lazy_request = generate("long");
    lazy_request.max_tokens = 2_000;
    let lazy = handle.submit(request(lazy_request)).await.expect("taken");
    for _ in 0..5 {
        assert_eq!(ask(&handle, "short").await, "word ".repeat(3));
    }
    while handle.stats().slots_busy() > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        handle.stats().slots_busy(),
        1,
        "the lazy one still has its slot"
    );
    assert!(handle.stats().output_tokens() < 400, "and did not write on");
    let (text, outcome) = collect(lazy).await;
    outcome.expect("answered");
    assert_eq!(text, "word ".repeat(300));
}

#[tokio::test]
async fn a_reader_that_leaves_frees_its_slot() {
    let endless = Script {
        decode_step: Duration::from_millis(2),
        ..Script::answering(|_| "on and on ".repeat(500))
    };
    let (handle, _thread) = engine(endless, 1);
    let mut stream = handle.submit(request(generate("x"))).await.expect("taken");
    while !matches!(stream.next().await, Some(Event::Text { .. })) {}
    drop(stream);
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while handle.stats().slots_busy() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("the slot is freed");
    assert_eq!(handle.stats().jobs_cancelled(), 1);
}

#[tokio::test]
async fn deadlines_end_jobs_in_the_queue_and_in_a_slot() {
    let slow = Script {
        decode_step: Duration::from_millis(20),
        ..echo()
    };
    let (handle, _thread) = engine(slow, 1);
    let with_deadline = |text: &str| Request {
        deadline_ms: Some(150),
        ..request(generate(text))
    };
    let writing = handle
        .submit(with_deadline("a long question"))
        .await
        .expect("taken");
    let queued = handle
        .submit(with_deadline("never begun"))
        .await
        .expect("taken");
    let (text, outcome) = collect(writing).await;
    assert_eq!(outcome.expect("ended").reason, FinishReason::Deadline);
    assert!(!text.is_empty() && "a long question is the question".starts_with(&text));
    let (text, outcome) = collect(queued).await;
    assert_eq!(
        (text.as_str(), outcome.expect("ended").reason),
        ("", FinishReason::Deadline)
    );
}

#[tokio::test]
async fn priority_decides_who_goes_first() {
    let slow = Script {
        decode_step: Duration::from_millis(1),
        ..echo()
    };
    let (handle, _thread) = engine(slow, 1);
    let busy = handle
        .submit(request(generate("busy")))
        .await
        .expect("taken");
    let mut waiting = Vec::new();
    for (priority, name) in [
        (Priority::Low, "low"),
        (Priority::Normal, "normal"),
        (Priority::High, "high"),
    ] {
        let request = Request {
            priority,
            ..request(generate(name))
        };
        waiting.push((name, handle.submit(request).await.expect("taken")));
    }
    collect(busy).await.1.expect("answered");
    let mut order = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (name, stream) in waiting {
        tasks.spawn(async move {
            let (_, outcome) = collect(stream).await;
            (outcome.expect("answered").queue_ms, name)
        });
    }
    while let Some(done) = tasks.join_next().await {
        order.push(done.expect("no panic"));
    }
    order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let names: Vec<_> = order.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["high", "normal", "low"]);
}

#[tokio::test]
async fn a_failed_decode_ends_its_jobs_and_no_others() {
    for fault in [Fault::Fail, Fault::Nan] {
        let script = Script {
            faults: HashMap::from([(3, fault)]),
            ..echo()
        };
        let (handle, _thread) = engine(script, 2);
        let stream = handle
            .submit(request(generate("unlucky")))
            .await
            .expect("taken");
        let (_, outcome) = collect(stream).await;
        assert!(matches!(outcome, Err(JobError::Backend(_))), "{outcome:?}");
        assert_eq!(ask(&handle, "next").await, "next is the question");
    }
}

#[tokio::test]
async fn a_panic_in_the_backend_is_an_error_for_everybody_and_not_a_hang() {
    let script = Script {
        faults: HashMap::from([(3, Fault::Panic)]),
        ..echo()
    };
    let (handle, thread) = engine(script, 1);
    let writing = handle.submit(request(generate("a"))).await.expect("taken");
    let queued = handle.submit(request(generate("b"))).await.expect("taken");
    assert_eq!(collect(writing).await.1, Err(JobError::EngineGone));
    assert_eq!(collect(queued).await.1, Err(JobError::EngineGone));
    let refused = handle.submit(request(generate("c"))).await;
    assert!(matches!(refused, Err(SubmitError::EngineGone)));
    assert!(!thread.join());
}

#[tokio::test]
async fn a_model_that_cannot_go_back_computes_again() {
    let script = Script {
        capacity: Capacity {
            rolls_back: false,
            ..Script::default().capacity
        },
        prefill_token: Duration::from_millis(3),
        ..echo()
    };
    let (handle, _thread) = engine(script, 2);
    // The second one's long prompt is aborted while the first one writes in the same batch.
    let mut first = handle
        .submit(request(generate("steady")))
        .await
        .expect("taken");
    while !matches!(first.next().await, Some(Event::Text { .. })) {}
    let second = handle
        .submit(request(generate(&"z".repeat(900))))
        .await
        .expect("taken");
    tokio::time::sleep(Duration::from_millis(60)).await;
    second.cancel();
    assert_eq!(
        collect(second).await.1.expect("ended").reason,
        FinishReason::Cancelled
    );
    let (answer, outcome) = collect(first).await;
    outcome.expect("answered");
    assert_eq!(answer, "teady is the question");
    assert!(handle.stats().decodes_aborted() >= 1);
}

#[tokio::test]
async fn stop_strings_limits_and_logprobs() {
    let (handle, _thread) = engine(echo(), 2);
    let mut stopped = generate("one two three");
    stopped.stop = vec!["two".into()];
    let (text, outcome) = collect(handle.submit(request(stopped)).await.expect("taken")).await;
    assert_eq!(
        (text.as_str(), outcome.expect("ended").reason),
        ("one ", FinishReason::Stop)
    );

    let mut short = generate("one two three");
    short.max_tokens = 5;
    let (text, outcome) = collect(handle.submit(request(short)).await.expect("taken")).await;
    let outcome = outcome.expect("ended");
    assert_eq!(
        (text.as_str(), outcome.reason),
        ("one t", FinishReason::Length)
    );
    assert_eq!(outcome.output_tokens, 5);

    let mut probed = generate("é");
    probed.logprobs = Some(2);
    let mut stream = handle.submit(request(probed)).await.expect("taken");
    let mut tokens = 0;
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        if let Event::Text {
            tokens: chosen,
            text: piece,
            ..
        } = event
        {
            tokens += chosen.len();
            text.push_str(&piece);
            assert!(
                chosen
                    .iter()
                    .all(|c| c.top.len() == 2 && c.top[0] == (c.token, c.logprob))
            );
        }
    }
    assert_eq!(text, "é is the question");
    assert_eq!(tokens, text.len(), "one for each byte token");
}

#[tokio::test]
async fn a_grammar_holds_whatever_the_model_wants() {
    let (handle, _thread) = engine(Script::answering(|_| r#"{"a": maybe"#.into()), 2);
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "a": { "enum": ["x", "y"] }, "b": { "type": "boolean" } },
        "required": ["a", "b"],
        "additionalProperties": false,
    });
    let mut constrained = generate("json please");
    constrained.grammar = Some(GrammarSource::JsonSchema(schema));
    let (text, outcome) = collect(handle.submit(request(constrained)).await.expect("taken")).await;
    assert_eq!(outcome.expect("ended").reason, FinishReason::Stop);
    let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    assert!(value["a"] == "x" || value["a"] == "y", "{text}");
    assert!(!text.contains(' '), "compact: {text}");

    let mut bad = generate("x");
    bad.grammar = Some(GrammarSource::Regex("(".into()));
    let refused = handle.submit(request(bad)).await;
    assert!(matches!(refused, Err(SubmitError::Grammar(_))));
}

/// Runs with thinking; returns (thinking, answer, outcome).
async fn think(
    reply: &'static str,
    change: impl FnOnce(&mut Generate),
) -> (String, String, Outcome) {
    let (handle, _thread) = engine(Script::answering(move |_| reply.to_owned()), 1);
    let mut wanted = generate("think");
    wanted.thinking = Thinking {
        tags: Some(ThinkTags {
            open: "<think>".into(),
            close: "</think>".into(),
        }),
        wanted: true,
        opened: false,
        budget_tokens: None,
    };
    change(&mut wanted);
    let mut stream = handle.submit(request(wanted)).await.expect("taken");
    let (mut thinking, mut answer) = (String::new(), String::new());
    while let Some(event) = stream.next().await {
        match event {
            Event::Text {
                channel: Channel::Thinking,
                text,
                ..
            } => thinking.push_str(&text),
            Event::Text { text, .. } => answer.push_str(&text),
            Event::Finished(outcome) => return (thinking, answer, outcome),
            Event::Failed(fault) => panic!("{fault}"),
            _ => {}
        }
    }
    panic!("no last event");
}

#[tokio::test]
async fn thinking_comes_apart_and_is_counted() {
    let (thinking, answer, outcome) = think("<think>\nhm hm\n</think>\n\nyes", |_| {}).await;
    assert_eq!((thinking.trim(), answer.as_str()), ("hm hm", "yes"));
    assert!(outcome.thinking_tokens > 0 && outcome.thinking_tokens < outcome.output_tokens);
}

#[tokio::test]
async fn a_thinking_budget_is_kept() {
    let reply = "<think>\nendless endless endless\n</think>x";
    let (thinking, _, outcome) = think(reply, |wanted| {
        wanted.thinking.budget_tokens = Some(8);
        wanted.max_tokens = 40;
    })
    .await;
    assert_eq!(thinking.trim(), "endless", "cut after 8 tokens");
    assert!(outcome.thinking_tokens <= 10, "{}", outcome.thinking_tokens);
}

#[tokio::test]
async fn thinking_is_free_and_the_answer_is_constrained() {
    let (thinking, answer, _) = think("<think>\nlet me see\n</think>\n\nno", |wanted| {
        wanted.grammar = Some(GrammarSource::Regex("(yes|no)".into()));
    })
    .await;
    assert_eq!((thinking.trim(), answer.as_str()), ("let me see", "no"));
}

#[tokio::test]
async fn vectors_come_back_one_for_each_input() {
    let (handle, _thread) = engine(echo(), 1);
    let request = Request {
        priority: Priority::Normal,
        user: UserId(1),
        deadline_ms: None,
        work: Work::Embed(vec![vec![1, 2], vec![7], vec![1, 2]]),
    };
    let mut stream = handle.submit(request).await.expect("taken");
    loop {
        match stream.next().await {
            Some(Event::Embedded(vectors)) => {
                assert_eq!(vectors.len(), 3);
                assert_eq!(vectors[0], vectors[2]);
                assert_ne!(vectors[0], vectors[1]);
                return;
            }
            Some(Event::Queued { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn stalled_readers_give_their_slots_up_and_lose_nothing() {
    let (handle, _thread) = engine(Script::answering(|_| "word ".repeat(60)), 2);
    let mut lazy = Vec::new();
    for _ in 0..2 {
        lazy.push(
            handle
                .submit(request(generate("lazy")))
                .await
                .expect("taken"),
        );
    }
    // Both slots fill their channels and stall; somebody else needs one.
    let busy = handle
        .submit(request(generate("busy")))
        .await
        .expect("taken");
    let (text, outcome) = collect(busy).await;
    assert_eq!(text, "word ".repeat(60));
    assert!(
        outcome.expect("answered").queue_ms >= 400.0,
        "a stalled slot is not taken at once"
    );
    for stream in lazy {
        let (text, outcome) = collect(stream).await;
        assert_eq!(
            (text, outcome.expect("answered").output_tokens),
            ("word ".repeat(60), 300)
        );
    }
}

/// Waits until the engine has noticed that all its jobs are over.
async fn nothing_is_live(handle: &EngineHandle) {
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while handle.stats().cells_live() > 0 || handle.stats().slots_busy() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("nothing is leaked");
}

/// Runs one request to its end.
async fn run(handle: &EngineHandle, request: Request) -> (String, Outcome) {
    let stream = handle.submit(request).await.expect("taken");
    let (text, outcome) = collect(stream).await;
    (text, outcome.expect("answered"))
}

#[tokio::test]
async fn what_was_read_once_is_not_read_again() {
    let (handle, _thread) = engine(echo(), 2);
    let head = "the same long instructions for everybody, ".repeat(10);
    let first = run(&handle, request(generate(&format!("{head}one")))).await;
    assert_eq!(first.1.cached_tokens, 0);
    let computed = handle.stats().prompt_tokens();
    let (text, outcome) = run(&handle, request(generate(&format!("{head}two")))).await;
    assert_eq!(text, format!("{head}two is the question"));
    assert!(outcome.cached_tokens as usize > head.len(), "{outcome:?}");
    let again = handle.stats().prompt_tokens() - computed;
    assert_eq!(
        u64::from(outcome.cached_tokens) + again,
        prompt(&format!("{head}two")).len() as u64
    );
    // The same once more: all but the token whose logits are needed.
    let (text, outcome) = run(&handle, request(generate(&format!("{head}two")))).await;
    assert_eq!(text, format!("{head}two is the question"));
    assert_eq!(
        outcome.cached_tokens as usize,
        prompt(&format!("{head}two")).len() - 1
    );
}

#[tokio::test]
async fn requests_that_come_together_read_what_they_share_once() {
    for rolls_back in [true, false] {
        let script = Script {
            capacity: Capacity {
                rolls_back,
                ..Script::default().capacity
            },
            // Slow enough that all are there before the first one is read.
            decode_step: Duration::from_millis(5),
            ..Script::answering(|prompt| {
                let question = prompt.split("<|im_end|>").next().unwrap_or("");
                question[question.len() - 4..].to_owned()
            })
        };
        let (handle, _thread) = engine(script, 4);
        let head = "x".repeat(1_000);
        let mut streams = Vec::new();
        for n in 0..8 {
            let mut wanted = generate(&format!("{head}{n}"));
            wanted.max_tokens = 1_100;
            streams.push((n, handle.submit(request(wanted)).await.expect("taken")));
        }
        for (n, stream) in streams {
            let (text, outcome) = collect(stream).await;
            outcome.expect("answered");
            assert_eq!(text, format!("xxx{n}"));
        }
        let read = handle.stats().prompt_tokens();
        assert!(
            (1_000..1_500).contains(&read),
            "{read}, rolls back: {rolls_back}"
        );
    }
}

#[tokio::test]
async fn a_small_cache_gives_up_what_is_idle_and_stays_right() {
    for shares_cells in [true, false] {
        let script = Script {
            capacity: Capacity {
                cells: 900,
                context_tokens: 900,
                sequences: 3,
                shares_cells,
                ..Script::default().capacity
            },
            ..echo()
        };
        let (handle, _thread) = engine(script, 2);
        for n in 0..30 {
            let question = format!("{}{n}", "abc".repeat(n % 7 * 10));
            let mut wanted = generate(&question);
            wanted.max_tokens = 300;
            let (text, _) = run(&handle, request(wanted)).await;
            assert_eq!(text, format!("{question} is the question"));
        }
        assert!(handle.stats().cells_used() <= 900);
        nothing_is_live(&handle).await;
    }
}

#[tokio::test]
async fn an_urgent_request_takes_a_slot_and_the_paused_one_goes_on_as_if_nothing_was() {
    // With room for both in the cache, and with room for one.
    for cells in [4_096, 300] {
        let script = Script {
            decode_step: Duration::from_millis(2),
            capacity: Capacity {
                cells,
                context_tokens: 300,
                ..Script::default().capacity
            },
            ..echo()
        };
        let (handle, _thread) = engine(script, 1);
        let question = "w".repeat(60);
        let mut patient = generate(&question);
        patient.max_tokens = 120;
        let patient = Request {
            priority: Priority::Low,
            ..request(patient)
        };
        let mut stream = handle.submit(patient).await.expect("taken");
        while !matches!(stream.next().await, Some(Event::Text { .. })) {}
        let reader = tokio::spawn(collect(stream));
        let mut short = generate("now");
        short.max_tokens = 60;
        let urgent = Request {
            priority: Priority::High,
            ..request(short)
        };
        let (text, outcome) = run(&handle, urgent).await;
        assert_eq!(text, "now is the question");
        assert!(outcome.queue_ms < 50.0, "{outcome:?}");
        assert!(!reader.is_finished(), "the other one still writes");
        let (text, outcome) = reader.await.expect("no panic");
        assert_eq!(format!("w{text}"), format!("{question} is the question"));
        assert_eq!(outcome.expect("answered").reason, FinishReason::Stop);
        assert_eq!(handle.stats().pauses(), 1);
        nothing_is_live(&handle).await;
    }
}

#[tokio::test]
async fn an_urgent_request_does_not_wait_for_a_long_prompt() {
    let script = Script {
        prefill_token: Duration::from_millis(2),
        ..echo()
    };
    let (handle, _thread) = engine(script, 2);
    let mut long = generate(&"slow ".repeat(200));
    long.max_tokens = 1_100;
    let low = Request {
        priority: Priority::Low,
        ..request(long)
    };
    let stream = handle.submit(low).await.expect("taken");
    while handle.stats().slots_busy() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let urgent = Request {
        priority: Priority::High,
        ..request(generate("now"))
    };
    let (text, _) = run(&handle, urgent).await;
    assert_eq!(text, "now is the question");
    assert_eq!(handle.stats().decodes_aborted(), 1, "stopped at once");
    let (text, outcome) = collect(stream).await;
    outcome.expect("answered");
    assert_eq!(text, format!("{} is the question", "slow ".repeat(200)));
}

#[tokio::test]
async fn forced_tokens_cost_no_decodes_of_their_own() {
    let (handle, _thread) = engine(Script::answering(|_| "zzz".into()), 1);
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "a_rather_long_name_of_a_field": { "enum": ["left", "right"] },
            "another_rather_long_name": { "enum": ["left", "right"] },
        },
        "required": ["a_rather_long_name_of_a_field", "another_rather_long_name"],
        "additionalProperties": false,
    });
    let mut constrained = generate("json please");
    constrained.grammar = Some(GrammarSource::JsonSchema(schema));
    let (text, outcome) = run(&handle, request(constrained.clone())).await;
    let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    assert_eq!(value.as_object().map(serde_json::Map::len), Some(2));
    let decodes = handle.stats().decodes();
    assert!(
        decodes < 12,
        "{decodes} decodes for {} tokens",
        outcome.output_tokens
    );

    // With log-probabilities every token is the model's own, and the text the same.
    constrained.logprobs = Some(1);
    let (same, _) = run(&handle, request(constrained)).await;
    assert_eq!(same, text);
}

#[tokio::test]
async fn guesses_save_decodes_and_change_nothing() {
    let answer = "key = value\n".repeat(20);
    for (temperature, shape) in [(0.0, "greedy"), (0.8, "by chance")] {
        let mut texts = Vec::new();
        let mut decodes = Vec::new();
        for speculation in [false, true] {
            let said = answer.clone();
            let script = Script {
                // What a decode costs decides whether guesses pay.
                decode_step: Duration::from_millis(2),
                ..Script::answering(move |_| said.clone())
            };
            let backend = Box::new(Scripted::new(script));
            let options = EngineOptions {
                speculation,
                paused_bytes_max: 0,
                ..options(1)
            };
            let (handle, _thread) = start(backend, Arc::new(vocabulary()), options);
            let mut wanted = generate("repeat");
            wanted.sampling.temperature = temperature;
            let (text, outcome) = run(&handle, request(wanted)).await;
            assert_eq!(outcome.output_tokens as usize, answer.len());
            texts.push(text);
            decodes.push(handle.stats().decodes());
        }
        assert_eq!(texts[0], answer);
        assert_eq!(texts[1], answer);
        assert!(decodes[1] * 2 < decodes[0], "{shape}: {decodes:?}");
    }
}

#[tokio::test]
async fn readers_may_come_one_after_the_other() {
    let (handle, _thread) = engine(Script::answering(|_| "word ".repeat(60)), 1);
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(handle.submit(request(generate("x"))).await.expect("taken"));
    }
    // Long enough for each to have had the slot, stalled and lost it.
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    for stream in streams {
        let (text, outcome) = collect(stream).await;
        outcome.expect("answered");
        assert_eq!(text, "word ".repeat(60));
    }
}

#[tokio::test]
async fn one_users_flood_does_not_shut_the_others_out() {
    let slow = Script {
        decode_step: Duration::from_millis(1),
        ..echo()
    };
    let (handle, _thread) = engine(slow, 1);
    let mut flood = Vec::new();
    for _ in 0..10 {
        flood.push(
            handle
                .submit(request(generate("flood")))
                .await
                .expect("taken"),
        );
    }
    let modest = Request {
        user: UserId(2),
        ..request(generate("modest"))
    };
    let (_, outcome) = run(&handle, modest).await;
    let mut before = 0;
    for stream in flood {
        let (_, flooded) = collect(stream).await;
        before += u32::from(flooded.expect("answered").queue_ms < outcome.queue_ms);
    }
    assert!(before <= 2, "{before} of the flood went first");
}

/// Scores choices; the log-probabilities.
async fn score(handle: &EngineHandle, text: &str, choices: &[&str]) -> (Vec<f32>, Outcome) {
    let choices: Vec<Vec<u32>> = choices
        .iter()
        .map(|choice| vocabulary().encode(choice, false))
        .collect();
    let total: usize = choices.iter().map(Vec::len).sum();
    let mut wanted = generate(text);
    wanted.max_tokens = total.try_into().expect("short");
    wanted.choices = choices;
    let mut stream = handle.submit(request(wanted)).await.expect("taken");
    loop {
        match stream.next().await {
            Some(Event::Scored { logprobs, outcome }) => return (logprobs, outcome),
            Some(Event::Failed(fault)) => panic!("{fault}"),
            Some(_) => {}
            None => panic!("no last event"),
        }
    }
}

#[tokio::test]
async fn choices_are_scored_on_the_prompt_that_they_share() {
    for (sequences, shares_cells) in [(8, true), (2, true), (8, false)] {
        let script = Script {
            capacity: Capacity {
                sequences,
                shares_cells,
                outputs: 3,
                ..Script::default().capacity
            },
            ..Script::answering(|_| "high".into())
        };
        let (handle, _thread) = engine(script, 1);
        let choices = ["low", "high", "highest of all", "h", "none"];
        let (logprobs, outcome) = score(&handle, "how bad?", &choices).await;
        assert_eq!(outcome.output_tokens, 0);
        let each = logprobs[1] / 4.0;
        assert!(
            each > -0.1,
            "every byte of it was what the model wanted: {logprobs:?}"
        );
        assert!((logprobs[3] - each).abs() < 1e-3, "{logprobs:?}");
        assert!(logprobs[0] < -20.0 && logprobs[4] < -20.0, "{logprobs:?}");
        assert!(logprobs[2] < logprobs[1] - 50.0, "{logprobs:?}");
        nothing_is_live(&handle).await;
        // And again, from the cache.
        let (again, outcome) = score(&handle, "how bad?", &choices).await;
        assert_eq!(again, logprobs);
        assert!(outcome.cached_tokens > 20, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_deadline_that_can_not_be_met_is_refused_at_once() {
    let slow = Script {
        prefill_token: Duration::from_millis(1),
        ..echo()
    };
    let (handle, _thread) = engine(slow, 1);
    // Nothing is known yet, so it is tried.
    ask(&handle, &"learn the speed ".repeat(20)).await;
    let mut long = generate(&"z".repeat(1_000));
    long.max_tokens = 1_100;
    let late = Request {
        deadline_ms: Some(200),
        ..request(long)
    };
    let (_, outcome) = collect(handle.submit(late.clone()).await.expect("taken")).await;
    let Err(JobError::WouldMissDeadline {
        expected_ms,
        late_ms,
        retry_after_ms,
    }) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert!((500..5_000).contains(&expected_ms), "{expected_ms}");
    assert!(
        late_ms > 300 && retry_after_ms.is_none(),
        "{late_ms} {retry_after_ms:?}"
    );
    // With the time it needs, it is taken; and one behind it that could do it alone is told when.
    let patient = Request {
        deadline_ms: Some(60_000),
        ..late
    };
    let patient = handle.submit(patient).await.expect("taken");
    let hasty = Request {
        deadline_ms: Some(900),
        ..request(generate("short"))
    };
    let (_, outcome) = collect(handle.submit(hasty).await.expect("taken")).await;
    assert!(
        matches!(
            outcome,
            Err(JobError::WouldMissDeadline {
                retry_after_ms: Some(_),
                ..
            })
        ),
        "{outcome:?}"
    );
    collect(patient).await.1.expect("answered");
}

/// Who asks for many vectors waits for their own, and the engine says that they wait.
#[tokio::test]
async fn users_take_turns_with_their_vectors() {
    let (handle, _thread) = engine(echo(), 1);
    let request = |user: u64, inputs: usize| Request {
        priority: Priority::Normal,
        user: UserId(user),
        deadline_ms: None,
        work: Work::Embed(vec![vec![1, 2]; inputs]),
    };
    // The engine is busy, so that all of them wait.
    let mut flood = Vec::new();
    for _ in 0..8 {
        flood.push(handle.submit(request(1, 2_000)).await.expect("taken"));
    }
    let mut modest = handle.submit(request(2, 20)).await.expect("taken");
    while !matches!(modest.next().await, Some(Event::Embedded(_))) {}
    assert!(
        handle.stats().waiting() >= 6,
        "{}",
        handle.stats().waiting()
    );
    let mut last = flood.pop().expect("there are eight");
    last.cancel();
    loop {
        match last.next().await {
            Some(Event::Failed(_)) => break,
            Some(Event::Queued { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(flood);
    while handle.stats().waiting() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nobody has to wait for choices that nobody wants any more.
#[tokio::test]
async fn scoring_ends_between_its_batches() {
    let script = Script {
        capacity: Capacity {
            outputs: 3,
            ..Script::default().capacity
        },
        decode_step: Duration::from_millis(5),
        ..Script::answering(|_| "high".into())
    };
    let (handle, _thread) = engine(script, 1);
    let mut wanted = generate("how bad?");
    wanted.choices = (0..40)
        .map(|number| vocabulary().encode(&format!("choice number {number:04}"), false))
        .collect();
    let total: usize = wanted.choices.iter().map(Vec::len).sum();
    wanted.max_tokens = total.try_into().expect("short");
    let mut stream = handle.submit(request(wanted)).await.expect("taken");
    while !matches!(stream.next().await, Some(Event::Started { .. })) {}
    stream.cancel();
    loop {
        match stream.next().await {
            Some(Event::Finished(outcome)) => {
                assert_eq!(outcome.reason, FinishReason::Cancelled);
                break;
            }
            Some(Event::Scored { .. } | Event::Failed(_)) | None => panic!("not cancelled"),
            Some(_) => {}
        }
    }
    nothing_is_live(&handle).await;
}
