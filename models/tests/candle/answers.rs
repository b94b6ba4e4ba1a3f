//! The built-in model gives the same answers with both backends.

use fazai_models::backend::{Backend, Run};
use fazai_models::chat::{Speaker, Turn};
use fazai_models::load::{BackendKind, Loaded, ModelSource};
use fazai_models::vocabulary::Token;

use crate::{best, decode, load_with};

const QUESTIONS: [&str; 12] = [
    "What does exit code 137 mean?",
    "list open ports",
    "Why does systemd say 'start request repeated too quickly'?",
    "How do I find out what fills my disk?",
    "nginx answers 502, what now?",
    "Jan 12 03:14:07 web1 kernel: Out of memory: Killed process 4242 (java)",
    "How can I see failed logins?",
    "Which process listens on port 8080?",
    "¿Qué significa ECONNREFUSED?",
    "Explain the difference between SIGTERM and SIGKILL.",
    "sshd: error: maximum authentication attempts exceeded for root from 203.0.113.9",
    "Plan: rotate logs larger than 1 GiB",
];

/// Tokens that are written for each question, whatever they say.
const WRITTEN: usize = 64;

/// Where the two differ, llama.cpp's own logits for the two tokens may be this far apart at
/// most, as a share of how far all its logits are: then the order of two roundings decided.
const TIE: f32 = 0.005;

fn prompts(model: &Loaded) -> Vec<Vec<Token>> {
    let prompt = |question: &&str| {
        let turn = Turn {
            role: Speaker::User,
            content: (*question).to_owned(),
        };
        let prompt = model.template.prompt(&[turn], false, &model.vocabulary);
        prompt.expect("a prompt").tokens
    };
    QUESTIONS.iter().map(prompt).collect()
}

/// The tokens that one sequence writes by itself.
fn alone(backend: &mut dyn Backend, prompt: &[Token]) -> Vec<Token> {
    let mut written = Vec::new();
    let mut logits = decode(backend, 0, 0, prompt);
    while written.len() < WRITTEN {
        written.push(best(&logits));
        let start = u32::try_from(prompt.len() + written.len() - 1).expect("short");
        logits = decode(backend, 0, start, &written[written.len() - 1..]);
    }
    backend.clear(0);
    written
}

/// The tokens that sequences write which share every batch.
fn together(backend: &mut dyn Backend, prompts: &[Vec<Token>]) -> Vec<Vec<Token>> {
    let mut histories: Vec<Vec<Token>> = prompts.to_vec();
    let mut held = vec![0; prompts.len()];
    for _ in 0..WRITTEN {
        let runs: Vec<Run<'_>> = (0..)
            .zip(histories.iter().zip(&held))
            .map(|(seq, (history, &held))| Run {
                seq,
                start: u32::try_from(held).expect("short"),
                tokens: &history[held..],
                outputs: 1,
            })
            .collect();
        backend.decode(&runs).expect("decoded");
        for (run, history) in histories.iter_mut().enumerate() {
            held[run] = history.len();
            history.push(best(backend.logits(run, 0)));
        }
    }
    (0..).zip(prompts).for_each(|(seq, _)| backend.clear(seq));
    let written = histories.into_iter().zip(prompts);
    written
        .map(|(history, prompt)| history[prompt.len()..].to_vec())
        .collect()
}

/// Fails if the tokens differ for another reason than a tie. Returns whether they are the same.
#[track_caller]
fn check(llama: &mut dyn Backend, prompt: &[Token], expected: &[Token], found: &[Token]) -> bool {
    let pairs = expected.iter().zip(found);
    let Some(at) = pairs
        .clone()
        .position(|(expected, found)| expected != found)
    else {
        return true;
    };
    let context: Vec<Token> = prompt.iter().chain(&expected[..at]).copied().collect();
    let logits = decode(llama, 1, 0, &context);
    llama.clear(1);
    let logit = |token: Token| logits[token as usize];
    let spread = logit(best(&logits)) - logits.iter().copied().fold(f32::MAX, f32::min);
    let gap = (logit(expected[at]) - logit(found[at])).abs() / spread;
    println!("differs at token {at}: gap {gap}");
    assert!(
        gap < TIE,
        "token {at}: {} or {}, gap {gap}",
        expected[at],
        found[at]
    );
    false
}

#[test]
fn both_backends_write_the_same() {
    let load = |backend| load_with(backend, &ModelSource::Builtin).expect("loaded");
    let (mut llama, mut candle) = (load(BackendKind::Llama), load(BackendKind::Candle));
    let prompts = prompts(&llama);
    assert_eq!(
        prompts,
        self::prompts(&candle),
        "the same template and tokens"
    );
    let slots = candle.backend.capacity().sequences as usize;
    let mut same = 0;
    for group in prompts.chunks(slots) {
        let found = together(&mut *candle.backend, group);
        for (prompt, found) in group.iter().zip(found) {
            let expected = alone(&mut *llama.backend, prompt);
            let single = alone(&mut *candle.backend, prompt);
            same += usize::from(check(&mut *llama.backend, prompt, &expected, &found));
            check(&mut *llama.backend, prompt, &expected, &single);
        }
    }
    println!(
        "{same} of {} answers are the same to the last token",
        prompts.len()
    );
    // Ties are rare, or the bound above means nothing.
    assert!(same * 2 > prompts.len(), "{same} of {}", prompts.len());
}
