//! The embedding model in this process, beside a second implementation (`minilm.py`) and the
//! similarities that sentence-transformers publishes; and directories that hold no such model.
//!
//! `FAZAI_TEST_MINILM` names the model's directory; otherwise it is where `./minilm` puts it.
#![cfg(feature = "candle")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fazai_memory::embed::{Bert, BertOptions, OpenError, Prompts};
use fazai_memory::{
    EmbedKind, Embedder, Entry, Filter, Kind, Memory, Namespace, Options, search::FoundBy,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Reference {
    text: String,
    vector: Vec<f32>,
}

/// The directory of all-MiniLM-L6-v2, or nothing, said aloud.
fn minilm() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let directory =
        std::env::var_os("FAZAI_TEST_MINILM").map_or_else(|| target.join("minilm"), PathBuf::from);
    if directory.join("model.safetensors").is_file() {
        return Some(directory);
    }
    let path = directory.display();
    eprintln!("SKIPPED: no all-MiniLM-L6-v2 in {path}; run worker/memory/minilm to get it");
    None
}

fn open(directory: &Path) -> Bert {
    Bert::open(directory, &BertOptions::default()).unwrap()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(x, y)| x * y).sum()
}

#[test]
fn vectors_are_those_of_the_reference() {
    let Some(directory) = minilm() else { return };
    let bert = open(&directory);
    let reference: Vec<Reference> = serde_json::from_str(include_str!("minilm.json")).unwrap();
    let texts: Vec<&str> = reference.iter().map(|each| each.text.as_str()).collect();
    let vectors = bert.embed(EmbedKind::Document, &texts).unwrap();
    for (each, vector) in reference.iter().zip(&vectors) {
        let (start, length) = (
            &each.text[..each.text.len().min(30)],
            cosine(vector, vector),
        );
        assert!((length - 1.0).abs() < 1e-5, "{start}: {length}");
        let error = each.vector.iter().zip(vector);
        let error = error.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(error < 1e-4, "{start}: {error}");
    }
    // What is known of this model.
    for (one, other, expected) in [(1, 2, 0.6660), (1, 3, 0.1046), (2, 3, 0.1411)] {
        let found = cosine(&vectors[one], &vectors[other]);
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
    // Alone or with others, a question or a passage: for this model it is all the same.
    for (text, together) in texts.iter().zip(&vectors) {
        let alone = bert.embed(EmbedKind::Query, &[text]).unwrap();
        assert!(cosine(&alone[0], together) > 0.99999);
    }
    assert_eq!(
        bert.embed(EmbedKind::Query, &[]).unwrap(),
        Vec::<Vec<f32>>::new()
    );
    let odd = ["", "\0\u{feff}", "🦀", &"x".repeat(1 << 20)];
    assert_eq!(bert.embed(EmbedKind::Query, &odd).unwrap().len(), 4);
}

#[test]
fn a_memory_finds_by_meaning_and_cuts_what_is_too_long() {
    let Some(directory) = minilm() else { return };
    let bert: Arc<dyn Embedder> = Arc::new(open(&directory));
    assert_eq!((bert.dimensions(), bert.tokens_max()), (384, Some(256)));
    let place = tempfile::tempdir().unwrap();
    let memory = Memory::open(Options::new(place.path()), Some(Arc::clone(&bert))).unwrap();
    let namespace = Namespace::new("test").unwrap();
    for text in [
        "The OOM killer ends the process that uses the most memory.",
        "Rotate logs with logrotate so that they do not fill the disk.",
        "A certificate is renewed thirty days before it expires.",
    ] {
        let entry = Entry::new(namespace.clone(), Kind::Note, text);
        memory.commit(entry).unwrap();
    }
    let query = "why was my program shot when RAM ran out?";
    let found = memory
        .search(query, 1, &Filter::of(namespace.clone()))
        .unwrap();
    assert!(found.hits[0].record.payload.text.contains("OOM"));
    assert_ne!(found.hits[0].found_by, FoundBy::Text);
    let options = memory.ingest_options(namespace);
    assert_eq!((options.chunk_tokens, options.overlap_tokens), (224, 28));
    let long = "certificate ".repeat(500);
    assert_eq!((options.tokens)("certificate"), 3);
    assert!((options.tokens)(&long) > 1000);
}

/// Copies a model's small files, so that one of them can be changed.
fn copy(directory: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    let to = copied.path();
    fs::create_dir(to.join("1_Pooling")).unwrap();
    for name in [
        "config.json",
        "tokenizer.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ] {
        fs::copy(directory.join(name), to.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(
        directory.join("model.safetensors"),
        to.join("model.safetensors"),
    )
    .unwrap();
    copied
}

fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn what_is_no_such_model_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let default = BertOptions::default();
    let error = Bert::open(empty.path(), &default).unwrap_err();
    assert!(matches!(&error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("config.json"), "{error}");

    let Some(directory) = minilm() else { return };
    let damaged: [(&str, &str, Value); 9] = [
        ("config.json", "hidden_size", json!(0)),
        ("config.json", "hidden_size", json!(768)),
        ("config.json", "num_attention_heads", json!(7)),
        ("config.json", "num_hidden_layers", json!(7)),
        ("config.json", "num_hidden_layers", json!(1e9)),
        ("config.json", "vocab_size", json!(100)),
        ("config.json", "max_position_embeddings", json!(60_000)),
        ("config.json", "vocab_size", json!("many")),
        ("sentence_bert_config.json", "max_seq_length", json!(2)),
    ];
    for (file, key, value) in damaged {
        let copied = copy(&directory);
        change(&copied.path().join(file), |own| own[key] = value.clone());
        let error = Bert::open(copied.path(), &default).unwrap_err();
        assert!(
            matches!(&error, OpenError::Damaged { .. }),
            "{key} {value}: {error}"
        );
    }
    let unsupported: [(&str, &str, Value); 4] = [
        ("config.json", "model_type", json!("xlm-roberta")),
        ("config.json", "hidden_act", json!("silu")),
        (
            "1_Pooling/config.json",
            "pooling_mode_max_tokens",
            json!(true),
        ),
        (
            "1_Pooling/config.json",
            "pooling_mode_mean_tokens",
            json!(false),
        ),
    ];
    for (file, key, value) in unsupported {
        let copied = copy(&directory);
        change(&copied.path().join(file), |own| own[key] = value);
        let error = Bert::open(copied.path(), &default).unwrap_err();
        assert!(
            matches!(&error, OpenError::Unsupported { .. }),
            "{key}: {error}"
        );
    }
    let copied = copy(&directory);
    change(&copied.path().join("modules.json"), |own| {
        own[2] = json!({"path": "2_Dense", "type": "sentence_transformers.models.Dense"});
    });
    let error = Bert::open(copied.path(), &default).unwrap_err();
    assert!(matches!(&error, OpenError::Unsupported { .. }), "{error}");
}

#[test]
fn damaged_files_are_refused() {
    let Some(directory) = minilm() else { return };
    let weights = fs::read(directory.join("model.safetensors")).unwrap();
    let mut huge_head = weights[..4096].to_vec();
    huge_head[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut not_a_number = weights.clone();
    let head = usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    not_a_number[8 + head..].fill(0xff);
    for bad in [
        &weights[..0],
        &weights[..weights.len() / 2],
        b"<html>not found</html>",
        &huge_head,
        &not_a_number,
    ] {
        let copied = copy(&directory);
        let path = copied.path().join("model.safetensors");
        fs::remove_file(&path).unwrap();
        fs::write(&path, bad).unwrap();
        let error = Bert::open(copied.path(), &BertOptions::default()).unwrap_err();
        assert!(matches!(&error, OpenError::Damaged { .. }), "{error}");
    }
    for (name, bad) in [("tokenizer.json", "{}"), ("config.json", "[1, 2")] {
        let copied = copy(&directory);
        fs::write(copied.path().join(name), bad).unwrap();
        let error = Bert::open(copied.path(), &BertOptions::default()).unwrap_err();
        assert!(matches!(&error, OpenError::Damaged { .. }), "{error}");
    }
    let copied = copy(&directory);
    let large = fs::File::create(copied.path().join("config.json")).unwrap();
    large.set_len(1 << 40).unwrap();
    let error = Bert::open(copied.path(), &BertOptions::default()).unwrap_err();
    assert!(matches!(&error, OpenError::TooLarge { .. }), "{error}");
}

#[test]
fn prompts_are_the_models_own_or_the_callers() {
    let Some(directory) = minilm() else { return };
    let embed = |bert: &Bert, kind, text: &str| bert.embed(kind, &[text]).unwrap().remove(0);
    let plain = open(&directory);
    let copied = copy(&directory);
    fs::write(
        copied.path().join("config_sentence_transformers.json"),
        r#"{"prompts": {"query": "find: "}}"#,
    )
    .unwrap();
    let own = open(copied.path());
    let asked = embed(&own, EmbedKind::Query, "disk");
    assert!(cosine(&asked, &embed(&plain, EmbedKind::Query, "find: disk")) > 0.9999);
    let passage = embed(&own, EmbedKind::Document, "disk");
    assert!(cosine(&passage, &embed(&plain, EmbedKind::Query, "disk")) > 0.9999);

    let e5 = copied.path().join("e5-small-v2");
    fs::create_dir(&e5).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::os::unix::fs::symlink(directory.join(name), e5.join(name)).unwrap();
    }
    let e5 = open(&e5);
    let passage = embed(&e5, EmbedKind::Document, "disk");
    assert!(cosine(&passage, &embed(&plain, EmbedKind::Query, "passage: disk")) > 0.9999);

    let options = BertOptions {
        prompts: Some(Prompts {
            query: "query: ".into(),
            document: "passage: ".into(),
        }),
        tokens_max: Some(16),
    };
    let cut = Bert::open(&directory, &options).unwrap();
    assert_eq!(cut.tokens_max(), Some(16));
    let passage = embed(&cut, EmbedKind::Document, "disk");
    assert!(cosine(&passage, &embed(&plain, EmbedKind::Query, "passage: disk")) > 0.9999);
    let long = embed(&cut, EmbedKind::Query, &"full disk ".repeat(50));
    let same = embed(&cut, EmbedKind::Query, &"full disk ".repeat(90));
    assert!(cosine(&long, &same) > 0.9999);
}
