use proptest::prelude::*;

use super::*;

/// A row in which token `i` has logit `values[i]`.
fn sampler(sampling: Sampling) -> Sampler {
    Sampler::new(sampling)
}

fn mask(size: usize, allowed: &[usize]) -> SimpleVob {
    let mut mask = SimpleVob::alloc(size);
    for &token in allowed {
        mask.set(token, true);
    }
    mask
}

/// The plain reference that the fast path must equal.
fn reference_top(logits: &[f32], allowed: Option<&SimpleVob>, k: usize) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = logits
        .iter()
        .enumerate()
        .filter(|(index, _)| allowed.is_none_or(|mask| mask.get(*index)))
        .map(|(index, &logit)| Candidate {
            token: to_token(index),
            logit,
        })
        .collect();
    all.sort_by(likelier);
    if k > 0 {
        all.truncate(k);
    }
    all
}

proptest! {
    #[test]
    fn the_fast_scan_finds_what_sorting_finds(
        logits in prop::collection::vec(-30.0f32..30.0, 1..700),
        k in 0usize..50,
        masked in any::<bool>(),
        picks in prop::collection::vec(0usize..700, 1..100),
    ) {
        let picks: Vec<usize> = picks.into_iter().map(|pick| pick % logits.len()).collect();
        let mask = mask(logits.len(), &picks);
        let allowed = masked.then_some(&mask);
        let mut found = Vec::new();
        gather(&logits, allowed, k, &mut found);
        let expected = reference_top(&logits, allowed, k);
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(likeliest(&logits, allowed), Some(expected[0].token));
    }

    #[test]
    fn what_is_chosen_is_always_allowed_and_among_the_top(
        logits in prop::collection::vec(-8.0f32..8.0, 50..200),
        picks in prop::collection::vec(0usize..50, 1..20),
        seed in any::<u64>(),
        temperature in 0.0f32..3.0,
        penalty in 1.0f32..2.0,
    ) {
        let mask = mask(logits.len(), &picks);
        let mut sampler = sampler(Sampling {
            temperature, seed, top_k: 5, repeat_penalty: penalty, ..Sampling::default()
        });
        for _ in 0..20 {
            let token = sampler.choose(&logits, Some(&mask)).expect("something is allowed");
            prop_assert!(mask.is_allowed(token));
            sampler.accept(token);
        }
    }
}

#[test]
fn greedy_takes_the_first_of_equals() {
    let logits = vec![1.0, 3.0, 3.0, 2.0];
    assert_eq!(likeliest(&logits, None), Some(1));
    assert_eq!(likeliest(&logits, Some(&mask(4, &[0, 3]))), Some(3));
    assert_eq!(likeliest(&logits, Some(&mask(4, &[]))), None);
    assert_eq!(likeliest(&[], None), None);
    assert_eq!(likeliest(&[f32::NAN, f32::NAN], None), None);
    assert_eq!(likeliest(&[f32::NAN, 0.0], None), Some(1));
}

#[test]
fn the_same_seed_gives_the_same_tokens_and_frequencies_follow_probabilities() {
    let logits: Vec<f32> = [0.5f32, 0.3, 0.2].iter().map(|p| p.ln()).collect();
    let sampling = Sampling {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 7,
        ..Sampling::default()
    };
    let draw = || {
        let mut sampler = sampler(sampling.clone());
        let mut choose = || sampler.choose(&logits, None).expect("a token");
        (0..20_000).map(|_| choose()).collect::<Vec<_>>()
    };
    let tokens = draw();
    assert_eq!(tokens, draw());
    for (token, expected) in [(0, 10_000i64), (1, 6_000), (2, 4_000)] {
        let count = i64::try_from(tokens.iter().filter(|&&t| t == token).count()).expect("small");
        assert!((count - expected).abs() < 400, "{token}: {count}");
    }
}

#[test]
fn top_p_and_min_p_cut_the_unlikely() {
    let logits: Vec<f32> = [0.6f32, 0.25, 0.1, 0.05].iter().map(|p| p.ln()).collect();
    let cut = |top_p, min_p| {
        let mut candidates = reference_top(&logits, None, 0);
        keep_top_p(&mut candidates, top_p);
        keep_min_p(&mut candidates, min_p);
        candidates.len()
    };
    assert_eq!(cut(1.0, 0.0), 4);
    assert_eq!(cut(0.8, 0.0), 2);
    assert_eq!(cut(0.1, 0.0), 1);
    assert_eq!(cut(1.0, 0.3), 2);
    assert_eq!(cut(1.0, 1.0), 1);
}

#[test]
fn a_penalty_moves_away_from_what_was_said() {
    let mut sampler = sampler(Sampling {
        repeat_penalty: 2.0,
        ..Sampling::default()
    });
    let logits = [1.0, 0.9, -1.0];
    assert_eq!(sampler.choose(&logits, None), Some(0));
    sampler.accept(0);
    assert_eq!(sampler.choose(&logits, None), Some(1));
    for _ in 0..PENALTY_WINDOW {
        sampler.accept(1);
    }
    assert_eq!(
        sampler.choose(&logits, None),
        Some(0),
        "forgotten after the window"
    );
}

#[test]
fn log_probabilities_sum_to_one() {
    let logits = [2.0, 1.0, 0.5, -3.0];
    let row = LogSoftmax::new(&logits);
    let sum: f32 = (0..4).map(|token| row.of(token).exp()).sum();
    assert!((sum - 1.0).abs() < 1e-5);
    let top = row.top(2);
    assert_eq!(
        top.iter().map(|(token, _)| *token).collect::<Vec<_>>(),
        [0, 1]
    );
}
