//! Every text becomes the same tokens, and every token the same text.

use std::path::{Path, PathBuf};

use fazai_models::builtin;
use fazai_models::gguf::{Gguf, Lists, Value as Found};
use fazai_models::load::{BackendKind, LoadError, load_vocabulary};
use fazai_models::vocabulary::{TokenKind, Vocabulary};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::gguf::{Saved, Value, Writer, save};

/// One vocabulary, as each backend has it.
struct Pair {
    llama: Vocabulary,
    candle: Vocabulary,
}

impl Pair {
    fn load(path: &Path) -> Self {
        let load = |backend| load_vocabulary(path, backend).expect("a good vocabulary");
        Self {
            llama: load(BackendKind::Llama),
            candle: load(BackendKind::Candle),
        }
    }

    #[track_caller]
    fn check_tables(&self) {
        assert_eq!(self.candle.size(), self.llama.size());
        for token in self.llama.tokens() {
            let of = |vocabulary: &Vocabulary| {
                let piece = vocabulary.piece(token).escape_ascii().to_string();
                (
                    piece,
                    vocabulary.kind(token),
                    vocabulary.ends_generation(token),
                )
            };
            assert_eq!(of(&self.candle), of(&self.llama), "token {token}");
        }
        let marks = |vocabulary: &Vocabulary| {
            (
                vocabulary.begin(),
                vocabulary.begin_text().to_owned(),
                vocabulary.end(),
            )
        };
        assert_eq!(marks(&self.candle), marks(&self.llama));
    }

    fn agree(&self, text: &str) -> bool {
        [false, true]
            .into_iter()
            .all(|special| self.candle.encode(text, special) == self.llama.encode(text, special))
    }

    /// Fails with the shortest text that it finds to differ.
    #[track_caller]
    fn check(&self, text: &str) {
        if self.agree(text) {
            return;
        }
        let mut text: Vec<char> = text.chars().collect();
        let differs = |text: &[char]| !self.agree(&text.iter().collect::<String>());
        let mut step = text.len() / 2;
        while step > 0 {
            let mut start = 0;
            while start < text.len() {
                let mut shorter = text.clone();
                shorter.drain(start..text.len().min(start + step));
                if differs(&shorter) {
                    text = shorter;
                } else {
                    start += step;
                }
            }
            step /= 2;
        }
        let text: String = text.into_iter().collect();
        for special in [false, true] {
            let (found, expected) = (
                self.candle.encode(&text, special),
                self.llama.encode(&text, special),
            );
            assert_eq!(found, expected, "{text:?}, special = {special}");
        }
    }

    /// Every character that has a meaning, and some of the others, among letters and digits.
    #[track_caller]
    fn check_all_characters(&self) {
        let assigned = ('\0'..='\u{1ffff}').chain('\u{e0000}'..='\u{e01ff}');
        let others = ('\u{20000}'..=char::MAX).step_by(97);
        let all: Vec<char> = assigned.chain(others).collect();
        for characters in all.chunks(256) {
            let text: String = characters
                .iter()
                .map(|c| format!("a{c}b {c}1{c}."))
                .collect();
            self.check(&text);
        }
    }

    #[track_caller]
    fn check_fuzz(&self, rounds: usize) {
        let specials = self.special_names();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for _ in 0..rounds {
            let parts = rng.random_range(1..24);
            let text: String = (0..parts).map(|_| part(&mut rng, &specials)).collect();
            self.check(&text);
        }
    }

    fn special_names(&self) -> Vec<String> {
        let tokens = self.llama.tokens();
        let control = tokens.filter(|&token| self.llama.kind(token) == TokenKind::Control);
        control
            .take(40)
            .map(|token| self.llama.piece_lossy(token))
            .collect()
    }
}

/// A piece of text of a random kind.
fn part(rng: &mut ChaCha8Rng, specials: &[String]) -> String {
    const WORDS: [&str; 24] = [
        "the",
        " exit",
        " code",
        "137",
        " don't",
        " I'LL",
        "'s",
        "’s",
        " naïve",
        " Straße",
        "日本語",
        "中文字符",
        " привет",
        "مرحبا",
        "हिन्दी",
        "ไทย",
        "한국어",
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "e\u{301}",
        "a\u{308}\u{323}",
        "\u{200b}",
        "\u{feff}",
        "ﬁ",
    ];
    const CODE: [&str; 16] = [
        "fn main() {\n    println!(\"{}\", x);\n}\n",
        "if (a != b) { return c[0]->d; }",
        "<div class=\"x\">&amp;</div>",
        "SELECT * FROM t WHERE a='b';",
        "\tfor i in range(10):\r\n\t\tprint(i)\r\n",
        "{\"key\": [1, 2.5e-3, null]}",
        "https://example.org/a?b=c#d",
        "/var/log/syslog:42",
        "0xDEADBEEF",
        "--flag=value",
        "$HOME/.config",
        "a_b_c",
        "CamelCaseWord",
        "<|im_start",
        "|>",
        "<0x0A>",
    ];
    const SPACES: [char; 12] = [
        ' ', ' ', ' ', '\n', '\n', '\t', '\r', '\u{a0}', '\u{3000}', '\u{2003}', '\u{85}', '\u{b}',
    ];
    let pick = |rng: &mut ChaCha8Rng, from: &[&str]| (*from.choose(rng).expect("some")).to_owned();
    let length = rng.random_range(1..9);
    match rng.random_range(0..10) {
        0 | 1 => pick(rng, &WORDS),
        2 => pick(rng, &CODE),
        3 | 4 => (0..length).filter_map(|_| SPACES.choose(rng)).collect(),
        5 => (0..length).map(|_| rng.random_range('0'..='9')).collect(),
        6 => (0..length).map(|_| rng.random::<char>()).collect(),
        7 => (0..length)
            .map(|_| rng.random_range('\0'..='\u{17f}'))
            .collect(),
        8 => (0..length).map(|_| rng.random_range('!'..='~')).collect(),
        _ => specials.choose(rng).cloned().unwrap_or_default(),
    }
}

fn builtin_vocabulary() -> Saved {
    save("builtin", builtin::verified().expect("not damaged"))
}

#[test]
fn the_builtin_vocabulary_is_the_same() {
    let file = builtin_vocabulary();
    let pair = Pair::load(file.path());
    pair.check_tables();
    pair.check_all_characters();
    pair.check_fuzz(4_000);
}

/// A large vocabulary that is not part of the repository.
fn large_vocabulary() -> Option<PathBuf> {
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/ggml-vocab-qwen2.gguf");
    let path = std::env::var_os("FAZAI_TEST_VOCAB").map_or(beside, PathBuf::from);
    path.is_file().then_some(path)
}

#[test]
fn a_large_vocabulary_is_the_same() {
    let Some(path) = large_vocabulary() else {
        eprintln!("SKIPPED: no large vocabulary; set FAZAI_TEST_VOCAB to a GGUF to test with it");
        return;
    };
    let pair = Pair::load(&path);
    pair.check_tables();
    pair.check_all_characters();
    pair.check_fuzz(4_000);
}

/// The built-in vocabulary with another way of splitting text.
fn with_splitting(name: &str) -> Saved {
    let bytes = builtin::verified().expect("not damaged");
    let gguf = Gguf::read(bytes, bytes.len() as u64, Lists::Keep).expect("a good header");
    let texts = |key: &str| -> Value {
        let list = gguf.get(key).and_then(Found::as_list).expect("a list");
        let texts = list
            .iter()
            .map(|text| text.as_text().expect("a text").to_owned());
        Value::Texts(texts.collect())
    };
    let types = gguf
        .get("tokenizer.ggml.token_type")
        .and_then(Found::as_list);
    let types = types.expect("a list").iter().map(|kind| {
        let kind = kind.as_u64().expect("a small number");
        i32::try_from(kind).expect("a small number")
    });
    let mut writer = Writer::default();
    writer.set("general.architecture", Value::Text("qwen3".into()));
    writer.set("tokenizer.ggml.model", Value::Text("gpt2".into()));
    writer.set("tokenizer.ggml.pre", Value::Text(name.into()));
    writer.set("tokenizer.ggml.tokens", texts("tokenizer.ggml.tokens"));
    writer.set("tokenizer.ggml.merges", texts("tokenizer.ggml.merges"));
    writer.set("tokenizer.ggml.token_type", Value::I32s(types.collect()));
    writer.save(&format!("splitting-{name}"))
}

#[test]
fn every_known_way_of_splitting_is_the_same() {
    for name in [
        "qwen2",
        "qwen35",
        "llama-bpe",
        "smaug-bpe",
        "gpt-2",
        "smollm",
    ] {
        let file = with_splitting(name);
        let pair = Pair::load(file.path());
        pair.check_tables();
        pair.check_all_characters();
        pair.check_fuzz(1_000);
    }
}

#[test]
fn an_unknown_way_of_splitting_is_refused_by_name() {
    let file = with_splitting("tekken");
    let refusal = load_vocabulary(file.path(), BackendKind::Candle).expect_err("not known");
    assert!(matches!(refusal, LoadError::Backend(_)), "{refusal:?}");
    assert!(refusal.to_string().contains("`tekken`"), "{refusal}");
}

/// A vocabulary like Gemma's: scores, byte tokens, tokens of several kinds.
fn scored_vocabulary(space_prefix: Option<bool>) -> Writer {
    let mut tokens: Vec<(String, f32, i32)> = Vec::new();
    for (name, kind) in [
        ("<pad>", 3),
        ("<eos>", 3),
        ("<bos>", 3),
        ("<unk>", 2),
        ("<mask>", 4),
    ] {
        tokens.push((name.to_owned(), 0.0, kind));
    }
    tokens.push(("<unused0>".to_owned(), 0.0, 5));
    tokens.push(("<start_of_turn>".to_owned(), 0.0, 3));
    tokens.push(("<end_of_turn>".to_owned(), 0.0, 3));
    for text in ["\n\n", "▁▁", "▁▁▁▁", "<h1>", "</h1>", "<h1><h1>"] {
        tokens.push((text.to_owned(), 0.0, 4));
    }
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    // Pieces of three letters in every order, with few different scores: many ties, and pieces
    // that overlap in every way.
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut pieces: Vec<String> = ["a", "b", "▁", "é", "日", "🦀"].map(str::to_owned).to_vec();
    for _ in 0..400 {
        let left = pieces.choose(&mut rng).expect("some").clone();
        let right = pieces.choose(&mut rng).expect("some");
        let piece = left + right;
        if piece.chars().count() < 9 && !pieces.contains(&piece) {
            pieces.push(piece);
        }
    }
    for piece in pieces {
        if !tokens.iter().any(|(text, _, _)| *text == piece) {
            let score = -f32::from(rng.random_range(0..30u8));
            tokens.push((piece, score, 1));
        }
    }
    let mut writer = Writer::default();
    writer.set("general.architecture", Value::Text("gemma3".into()));
    writer.set("tokenizer.ggml.model", Value::Text("llama".into()));
    writer.set("tokenizer.ggml.bos_token_id", Value::U32(2));
    writer.set("tokenizer.ggml.eos_token_id", Value::U32(1));
    if let Some(prefix) = space_prefix {
        writer.set("tokenizer.ggml.add_space_prefix", Value::Bool(prefix));
    }
    let texts = tokens.iter().map(|(text, _, _)| text.clone());
    writer.set("tokenizer.ggml.tokens", Value::Texts(texts.collect()));
    let scores = tokens.iter().map(|(_, score, _)| *score);
    writer.set("tokenizer.ggml.scores", Value::F32s(scores.collect()));
    let kinds = tokens.iter().map(|(_, _, kind)| *kind);
    writer.set("tokenizer.ggml.token_type", Value::I32s(kinds.collect()));
    writer
}

#[test]
fn a_vocabulary_with_scores_is_the_same() {
    for space_prefix in [None, Some(false), Some(true)] {
        let file = scored_vocabulary(space_prefix).save(&format!("scored-{space_prefix:?}"));
        let pair = Pair::load(file.path());
        pair.check_tables();
        pair.check_fuzz(2_000);
        let mut rng = ChaCha8Rng::seed_from_u64(13);
        let letters = ['a', 'a', 'b', 'b', ' ', '\n', 'é', '日', '🦀', 'x', '▁'];
        for _ in 0..4_000 {
            let length = rng.random_range(0..40);
            let text: String = (0..length)
                .filter_map(|_| letters.choose(&mut rng))
                .collect();
            pair.check(&text);
        }
        for text in [
            "",
            " ",
            "<h1><h1><h1>",
            "<h1>a</h1>",
            "<end_of_turn> a",
            "<unk>",
            "\n\n\n",
        ] {
            pair.check(text);
        }
    }
}

#[test]
fn a_vocabulary_without_a_byte_is_refused() {
    let mut writer = scored_vocabulary(None);
    writer.set("tokenizer.ggml.tokens", Value::Texts(vec!["a".into()]));
    let file = writer.save("no-bytes");
    let refusal = load_vocabulary(file.path(), BackendKind::Candle).expect_err("no bytes");
    assert!(refusal.to_string().contains("<0x00>"), "{refusal}");
}
