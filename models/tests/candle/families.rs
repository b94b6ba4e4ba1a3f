//! Small models with random weights of every family, against llama.cpp.
//!
//! Their weights are 32-bit numbers, so that what differs is the graph and not the rounding.

use std::time::Instant;

use fazai_models::backend::{Backend, DecodeError, Run};
use fazai_models::load::{BackendKind, LoadError, LoadOptions, Loaded, ModelSource, load};
use fazai_models::vocabulary::Token;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::gguf::{Saved, Value, Writer, save};
use crate::{best, decode, load_with};

const FAMILIES: [&str; 4] = ["qwen2", "qwen3", "qwen3moe", "gemma3"];

/// A window shorter than the prompts, so that layers have to forget.
const WINDOW: u32 = 13;

/// The sizes of a model.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    layers: u32,
    width: u32,
    hidden: u32,
    heads: u32,
    kv_heads: u32,
    head_width: u32,
    experts: u32,
}

fn sizes(family: &str) -> Sizes {
    let sizes = Sizes {
        layers: 3,
        width: 64,
        hidden: 96,
        heads: 4,
        kv_heads: 2,
        head_width: 32,
        experts: 0,
    };
    match family {
        "qwen2" => Sizes {
            head_width: 16,
            ..sizes
        },
        "qwen3moe" => Sizes {
            hidden: 32,
            experts: 8,
            ..sizes
        },
        // Five layers slide, the sixth does not, and the seventh does again.
        "gemma3" => Sizes {
            layers: 7,
            kv_heads: 1,
            ..sizes
        },
        _ => sizes,
    }
}

/// Random weights under the names that a family gives them.
struct Weights {
    writer: Writer,
    rng: ChaCha8Rng,
    quantized: bool,
}

impl Weights {
    fn matrix(&mut self, name: &str, inputs: u32, outputs: u32) {
        self.stack(name, inputs, outputs, None);
    }

    fn stack(&mut self, name: &str, inputs: u32, outputs: u32, count: Option<u32>) {
        let mut dimensions = vec![u64::from(inputs), u64::from(outputs)];
        dimensions.extend(count.map(u64::from));
        let elements = inputs * outputs * count.unwrap_or(1);
        if self.quantized {
            let numbers = (0..elements).map(|_| self.rng.random_range(-127..=127));
            let numbers: Vec<i8> = numbers.collect();
            self.writer.q8_0(name, &dimensions, &numbers);
        } else {
            let scale = 3.0 / f32::from(u16::try_from(inputs).expect("small")).sqrt();
            let numbers = (0..elements).map(|_| self.rng.random_range(-scale..scale));
            let numbers: Vec<f32> = numbers.collect();
            self.writer.f32(name, &dimensions, &numbers);
        }
    }

    fn vector(&mut self, name: &str, length: u32, from: f32, to: f32) {
        let numbers = (0..length).map(|_| self.rng.random_range(from..to));
        let numbers: Vec<f32> = numbers.collect();
        self.writer.f32(name, &[u64::from(length)], &numbers);
    }

    fn norm(&mut self, name: &str, length: u32) {
        self.vector(name, length, 0.5, 1.5);
    }

    fn layer(&mut self, family: &str, index: u32, sizes: Sizes) {
        let named = |part: &str| format!("blk.{index}.{part}.weight");
        let (width, hidden) = (sizes.width, sizes.hidden);
        let query_width = sizes.heads * sizes.head_width;
        let key_width = sizes.kv_heads * sizes.head_width;
        self.norm(&named("attn_norm"), width);
        self.matrix(&named("attn_q"), width, query_width);
        self.matrix(&named("attn_k"), width, key_width);
        self.matrix(&named("attn_v"), width, key_width);
        self.matrix(&named("attn_output"), query_width, width);
        self.norm(&named("ffn_norm"), width);
        if family == "qwen2" {
            for (part, length) in [("q", query_width), ("k", key_width), ("v", key_width)] {
                self.vector(&format!("blk.{index}.attn_{part}.bias"), length, -0.5, 0.5);
            }
        } else {
            self.norm(&named("attn_q_norm"), sizes.head_width);
            self.norm(&named("attn_k_norm"), sizes.head_width);
        }
        if family == "gemma3" {
            self.norm(&named("post_attention_norm"), width);
            self.norm(&named("post_ffw_norm"), width);
        }
        if family == "qwen3moe" {
            let count = Some(sizes.experts);
            self.matrix(&named("ffn_gate_inp"), width, sizes.experts);
            self.stack(&named("ffn_gate_exps"), width, hidden, count);
            self.stack(&named("ffn_up_exps"), width, hidden, count);
            self.stack(&named("ffn_down_exps"), hidden, width, count);
        } else {
            self.matrix(&named("ffn_gate"), width, hidden);
            self.matrix(&named("ffn_up"), width, hidden);
            self.matrix(&named("ffn_down"), hidden, width);
        }
    }
}

fn header(family: &str, sizes: Sizes) -> Writer {
    let mut writer = Writer::default();
    writer.set("general.architecture", Value::Text(family.into()));
    let numbers = [
        ("block_count", sizes.layers),
        ("context_length", 512),
        ("embedding_length", sizes.width),
        ("feed_forward_length", sizes.hidden),
        ("attention.head_count", sizes.heads),
        ("attention.head_count_kv", sizes.kv_heads),
        ("attention.key_length", sizes.head_width),
        ("attention.value_length", sizes.head_width),
    ];
    for (key, number) in numbers {
        writer.set(&format!("{family}.{key}"), Value::U32(number));
    }
    let set = |writer: &mut Writer, key: &str, value| writer.set(&format!("{family}.{key}"), value);
    set(
        &mut writer,
        "attention.layer_norm_rms_epsilon",
        Value::F32(1e-6),
    );
    set(&mut writer, "rope.freq_base", Value::F32(1_000_000.0));
    if sizes.experts > 0 {
        set(&mut writer, "expert_count", Value::U32(sizes.experts));
        set(&mut writer, "expert_used_count", Value::U32(3));
        set(
            &mut writer,
            "expert_feed_forward_length",
            Value::U32(sizes.hidden),
        );
    }
    if family == "gemma3" {
        set(&mut writer, "attention.sliding_window", Value::U32(WINDOW));
        set(
            &mut writer,
            "rope.scaling.type",
            Value::Text("linear".into()),
        );
        set(&mut writer, "rope.scaling.factor", Value::F32(8.0));
    }
    writer
}

/// A token for each byte, and a few more.
fn add_vocabulary(writer: &mut Writer) -> u32 {
    let visible = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    let mut tokens: Vec<String> = visible
        .chain('\u{100}'..='\u{143}')
        .map(String::from)
        .collect();
    tokens.extend(["ab", "<|im_end|>"].map(str::to_owned));
    let count = u32::try_from(tokens.len()).expect("few");
    writer.set("tokenizer.ggml.model", Value::Text("gpt2".into()));
    writer.set("tokenizer.ggml.pre", Value::Text("qwen2".into()));
    writer.set("tokenizer.ggml.tokens", Value::Texts(tokens));
    writer.set("tokenizer.ggml.merges", Value::Texts(vec!["a b".into()]));
    count
}

fn model(family: &str, sizes: Sizes, quantized: bool) -> Writer {
    let mut writer = header(family, sizes);
    let vocabulary = add_vocabulary(&mut writer);
    let mut weights = Weights {
        writer,
        rng: ChaCha8Rng::seed_from_u64(3),
        quantized,
    };
    weights.matrix("token_embd.weight", sizes.width, vocabulary);
    // Some models have a matrix of their own for the output; others use the embeddings.
    if family == "qwen2" {
        weights.matrix("output.weight", sizes.width, vocabulary);
    }
    weights.norm("output_norm.weight", sizes.width);
    for index in 0..sizes.layers {
        weights.layer(family, index, sizes);
    }
    weights.writer
}

fn small(family: &str) -> Writer {
    model(family, sizes(family), false)
}

fn open(file: &Saved, backend: BackendKind) -> Loaded {
    let source = ModelSource::File(file.path().to_owned());
    load_with(backend, &source).expect("loaded")
}

fn candle(family: &str, test: &str) -> Box<dyn Backend> {
    let file = small(family).save(&format!("{family}-{test}"));
    open(&file, BackendKind::Candle).backend
}

fn prompt(length: u32, seed: u32) -> Vec<Token> {
    (0..length)
        .map(|index| (index * index * 7 + index * 3 + seed) % 250)
        .collect()
}

/// The greatest difference between two rows, as a share of how far their numbers are apart.
#[track_caller]
fn difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let differences = left
        .iter()
        .zip(right)
        .map(|(left, right)| (left - right).abs());
    let spread = left.iter().copied().fold(f32::MIN, f32::max)
        - left.iter().copied().fold(f32::MAX, f32::min);
    let difference = differences.fold(0.0, f32::max) / spread;
    assert!(difference.is_finite(), "NaN or infinite logits");
    difference
}

/// Two rows of the same numbers up to the rounding of 16-bit keys and values.
const ROUNDING: f32 = 0.01;

#[test]
fn every_family_gives_llamas_logits() {
    for family in FAMILIES {
        let file = small(family).save(&format!("{family}-logits"));
        let mut llama = open(&file, BackendKind::Llama).backend;
        let mut candle = open(&file, BackendKind::Candle).backend;
        let check = |what: &str, expected: &[f32], found: &[f32]| {
            let difference = difference(expected, found);
            println!("{family} {what}: {difference}");
            assert!(difference < ROUNDING, "{family}, {what}: {difference}");
        };
        let mut position = 0;
        // Longer than the window, twice; the second one attends to the first.
        for length in [40, 33] {
            let tokens = prompt(length, position);
            let expected = decode(&mut *llama, 0, position, &tokens);
            let found = decode(&mut *candle, 0, position, &tokens);
            check("prompt", &expected, &found);
            position += length;
        }
        let mut token = 5;
        for _ in 0..20 {
            let expected = decode(&mut *llama, 0, position, &[token]);
            let found = decode(&mut *candle, 0, position, &[token]);
            check("step", &expected, &found);
            token = best(&expected);
            position += 1;
        }
    }
}

#[test]
fn quantized_weights_give_nearly_llamas_logits() {
    // A small model is computed with the kernels that are closest to llama.cpp's, a large one
    // with fast ones, where the shape of its matrices allows.
    for (width, layers) in [(256, 3), (512, 10), (544, 10)] {
        let sizes = Sizes {
            layers,
            width,
            hidden: 2_048,
            ..sizes("qwen3")
        };
        let file = model("qwen3", sizes, true).save(&format!("quantized-{width}"));
        let mut llama = open(&file, BackendKind::Llama).backend;
        let mut candle = open(&file, BackendKind::Candle).backend;
        let tokens = prompt(60, 1);
        let expected = decode(&mut *llama, 0, 0, &tokens);
        let found = decode(&mut *candle, 0, 0, &tokens);
        let difference = difference(&expected, &found);
        println!("quantized {width}: {difference}");
        // Both round to 8 bits on the way, and random weights make the most of that.
        assert!(difference < 0.05, "{width}: {difference}");
    }
}

/// Two ways of computing the same in candle; only the order of additions may differ.
const SAME: f32 = 1e-4;

#[test]
fn chunks_and_single_tokens_give_the_same_as_a_whole_prompt() {
    for family in FAMILIES {
        let mut backend = candle(family, "chunks");
        let tokens = prompt(70, 2);
        let whole = decode(&mut *backend, 0, 0, &tokens);
        for (seq, size) in [(1, 1), (2, 7), (3, 33)] {
            let mut start = 0;
            let mut last = Vec::new();
            for chunk in tokens.chunks(size) {
                last = decode(&mut *backend, seq, start, chunk);
                start += u32::try_from(chunk.len()).expect("short");
            }
            let difference = difference(&whole, &last);
            assert!(
                difference < SAME,
                "{family}, chunks of {size}: {difference}"
            );
        }
    }
}

#[test]
fn sequences_in_one_batch_do_not_disturb_each_other() {
    for family in FAMILIES {
        let mut backend = candle(family, "batch");
        let prompts: Vec<Vec<Token>> = (0..4).map(|seq| prompt(20 + 9 * seq, seq)).collect();
        let alone: Vec<Vec<f32>> = prompts
            .iter()
            .map(|tokens| {
                let logits = decode(&mut *backend, 0, 0, tokens);
                backend.clear(0);
                logits
            })
            .collect();
        // All but the last token first, in one batch; then the last ones, in another.
        for logits in [false, true] {
            let runs: Vec<Run<'_>> = (0..)
                .zip(&prompts)
                .map(|(seq, tokens)| {
                    let (head, tail) = tokens.split_at(tokens.len() - 1);
                    let start = if logits { head.len() } else { 0 };
                    Run {
                        seq,
                        start: u32::try_from(start).expect("short"),
                        tokens: if logits { tail } else { head },
                        outputs: u32::from(logits),
                    }
                })
                .collect();
            backend.decode(&runs).expect("decoded");
        }
        for (run, alone) in alone.iter().enumerate() {
            let difference = difference(alone, backend.logits(run, 0));
            assert!(difference < SAME, "{family}, sequence {run}: {difference}");
        }
    }
}

#[test]
fn a_sequence_can_be_taken_back() {
    for family in FAMILIES {
        let mut backend = candle(family, "truncate");
        let tokens = prompt(50, 3);
        let whole = decode(&mut *backend, 0, 0, &tokens);
        assert!(backend.truncate(0, 20), "every family can go back");
        decode(&mut *backend, 0, 20, &prompt(9, 99));
        assert!(backend.truncate(0, 20));
        let again = decode(&mut *backend, 0, 20, &tokens[20..]);
        let difference = difference(&whole, &again);
        assert!(difference < SAME, "{family}: {difference}");
    }
}

#[test]
fn an_aborted_decode_leaves_no_trace_after_a_truncate() {
    let mut backend = candle("qwen3", "abort");
    let tokens = prompt(40, 4);
    let whole = decode(&mut *backend, 0, 0, &tokens);
    backend.clear(0);
    decode(&mut *backend, 0, 0, &tokens[..10]);
    let abort = backend.abort_signal();
    abort.raise();
    let rest = Run {
        seq: 0,
        start: 10,
        tokens: &tokens[10..],
        outputs: 1,
    };
    assert_eq!(backend.decode(&[rest]), Err(DecodeError::Aborted));
    abort.clear();
    assert!(backend.truncate(0, 10));
    let again = decode(&mut *backend, 0, 10, &tokens[10..]);
    assert!(difference(&whole, &again) < SAME);
}

#[test]
fn an_abort_stops_a_running_decode() {
    // Large enough to take a while even on a fast machine.
    let sizes = Sizes {
        layers: 12,
        width: 512,
        hidden: 2_048,
        heads: 8,
        kv_heads: 4,
        head_width: 64,
        experts: 0,
    };
    let file = model("qwen3", sizes, true).save("large");
    let mut backend = open(&file, BackendKind::Candle).backend;
    let tokens = prompt(500, 1);
    let started = Instant::now();
    decode(&mut *backend, 0, 0, &tokens);
    let whole = started.elapsed();
    backend.clear(0);

    let abort = backend.abort_signal();
    let raiser = std::thread::spawn(move || {
        std::thread::sleep(whole / 4);
        abort.raise();
        Instant::now()
    });
    let run = Run {
        seq: 0,
        start: 0,
        tokens: &tokens,
        outputs: 1,
    };
    assert_eq!(backend.decode(&[run]), Err(DecodeError::Aborted));
    let late = raiser.join().expect("no panic").elapsed();
    println!("a decode of {whole:?} stopped {late:?} after the signal");
    assert!(late < whole / 4, "{late:?} of {whole:?}");
}

#[test]
fn wrong_runs_are_refused() {
    let mut backend = candle("qwen3", "wrong-runs");
    let tokens = prompt(8, 0);
    let run = |seq, start, tokens| Run {
        seq,
        start,
        tokens,
        outputs: 1,
    };
    let mut check = |run: Run<'_>, expected: &str| match backend.decode(&[run]) {
        Err(DecodeError::Failed(reason)) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?} instead of {expected}"),
    };
    check(run(9, 0, &tokens), "sequence 9");
    check(run(0, 3, &tokens), "at 3 behind 0");
    check(run(0, 0, &[]), "0 tokens");
    check(run(0, 0, &[1_000_000]), "token 1000000");
    check(run(0, 0, &[1; 4_097]), "4097 tokens in a batch");
    assert!(backend.embed(&tokens).is_err());
}

#[test]
fn a_full_cache_is_told_from_a_failure() {
    let file = small("qwen3").save("full");
    let source = ModelSource::File(file.path().to_owned());
    let options = LoadOptions {
        backend: BackendKind::Candle,
        slots: 2,
        // Room for little more than one conversation.
        kv_cache_bytes: 1,
        ..LoadOptions::default()
    };
    let mut backend = load(&source, &options, &mut |_| true)
        .expect("loaded")
        .backend;
    let cells = backend.capacity().cells;
    let tokens = prompt(cells.min(500), 0);
    decode(&mut *backend, 0, 0, &tokens);
    let run = Run {
        seq: 1,
        start: 0,
        tokens: &tokens,
        outputs: 1,
    };
    assert_eq!(backend.decode(&[run]), Err(DecodeError::CacheFull));
    backend.clear(0);
    assert_eq!(backend.decode(&[run]), Ok(()));
}

#[test]
fn a_load_can_be_stopped() {
    let file = small("qwen3").save("stopped");
    let source = ModelSource::File(file.path().to_owned());
    let options = LoadOptions {
        backend: BackendKind::Candle,
        ..LoadOptions::default()
    };
    let mut reports = 0;
    let stopped = load(&source, &options, &mut |_| {
        reports += 1;
        reports < 2
    });
    assert!(matches!(stopped, Err(LoadError::Cancelled)));
    assert_eq!(reports, 2);
}

#[track_caller]
fn check_refused(writer: &Writer, test: &str, expected: &str) {
    let file = writer.save(test);
    let source = ModelSource::File(file.path().to_owned());
    match load_with(BackendKind::Candle, &source) {
        Err(fault @ (LoadError::Backend(_) | LoadError::File { .. })) => {
            assert!(fault.to_string().contains(expected), "{fault}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{test} was loaded"),
    }
}

#[test]
fn what_the_graph_can_not_compute_is_refused() {
    let llama = model("llama", sizes("qwen3"), false);
    check_refused(
        &llama,
        "architecture",
        "qwen2, qwen3, qwen3moe and gemma3, not llama",
    );
    let with = |key: &str, value: Value| {
        let mut writer = small("qwen3");
        writer.set(key, value);
        writer
    };
    let mut yarn = with("qwen3.rope.scaling.type", Value::Text("yarn".into()));
    yarn.set("qwen3.rope.scaling.factor", Value::F32(4.0));
    check_refused(&yarn, "yarn", "`yarn`");
    check_refused(&with("split.count", Value::U32(2)), "split", "split");
    let heads = with("qwen3.attention.head_count_kv", Value::U32(3));
    check_refused(&heads, "heads", "heads");
    check_refused(
        &with("qwen3.block_count", Value::U32(0)),
        "layers",
        "qwen3.block_count",
    );
    let mut missing = small("qwen3");
    missing.drop_tensor("blk.1.ffn_up.weight");
    check_refused(&missing, "missing", "no tensor blk.1.ffn_up.weight");
    let wider = with("qwen3.feed_forward_length", Value::U32(128));
    check_refused(&wider, "wider", "[96, 64] instead of [128, 64]");
    let fewer = with("qwen3.block_count", Value::U32(2));
    check_refused(&fewer, "fewer", "blk.2.");
    let tokens = with("tokenizer.ggml.pre", Value::Text("unheard-of".into()));
    check_refused(&tokens, "splitting", "`unheard-of`");
}

#[test]
fn a_damaged_file_is_an_error_and_nothing_else() {
    let good = small("qwen3").bytes();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for round in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..6) {
            // Most of the header, a little of the weights.
            let at = rng.random_range(0..bytes.len().min(12_000));
            bytes[at] = rng.random();
        }
        if round % 10 == 0 {
            bytes.truncate(rng.random_range(0..bytes.len()));
        }
        let file = save("damaged", &bytes);
        let source = ModelSource::File(file.path().to_owned());
        // A flipped weight is no damage that anybody could see; a panic would end the test.
        drop(load_with(BackendKind::Candle, &source));
    }
}
