//! The store without a network: names, lists, removal.

use super::*;

/// A store in a directory of its own that goes away with it.
struct Scratch(Store);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = format!("fazai-store-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a directory");
        Self(Store::new(folder))
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        fs::write(self.0.dir().join(file), bytes).expect("written");
    }

    fn names(&self) -> Vec<String> {
        let list = self.0.list().expect("listed");
        list.into_iter().map(|entry| entry.name).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.dir());
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A GGUF with three keys and one tensor of 32 numbers.
fn gguf() -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(1u64.to_le_bytes());
    out.extend(3u64.to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "qwen3");
    text(&mut out, "qwen3.context_length");
    out.extend(4u32.to_le_bytes());
    out.extend(4096u32.to_le_bytes());
    text(&mut out, "tokenizer.chat_template");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "{{ messages }}\n\u{1b}[2J");
    text(&mut out, "blk.0.weight");
    out.extend(1u32.to_le_bytes());
    out.extend(32u64.to_le_bytes());
    out.extend(8u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend([0; 64]);
    out
}

fn origin(sha256: &str) -> String {
    let origin = Origin {
        repository: "Qwen/Qwen3-0.6B-GGUF".into(),
        file: "Qwen3-0.6B-Q8_0.gguf".into(),
        requested: None,
        commit: "0".repeat(40),
        bytes: 1,
        sha256: sha256.into(),
        sum_from: SumFrom::Catalog,
        pulled_unix_s: 1,
    };
    serde_json::to_string(&origin).expect("plain data")
}

#[test]
fn the_list_has_the_builtin_model_and_says_what_is_wrong_with_broken_ones() {
    let scratch = Scratch::new("list");
    scratch.put("good.gguf", &gguf());
    scratch.put("text.gguf", b"#!/bin/sh\n");
    scratch.put("short.gguf", &gguf()[..40]);
    scratch.put("my model.gguf", &gguf());
    scratch.put("builtin.gguf", &gguf());
    scratch.put("notes.txt", b"not a model");
    scratch.put("half.gguf.part", b"not one yet");
    fs::create_dir(scratch.0.dir().join("folder.gguf")).expect("a directory");

    let list = scratch
        .0
        .list()
        .expect("one bad file does not hide the others");
    let why = |name: &str, path: bool| {
        let found = |entry: &&Entry| entry.name == name && entry.path.is_some() == path;
        let entry = list.iter().find(found).expect(name);
        entry.broken.clone().unwrap_or_default()
    };
    assert_eq!(list.len(), 7);
    assert_eq!(list[0].source, EntrySource::Builtin);
    assert_eq!(why("builtin", false), "");
    assert_eq!(why("good", true), "");
    assert!(why("text", true).contains("not a GGUF"));
    assert!(why("short", true).contains("truncated"));
    assert!(why("my model", true).contains("rename the file"));
    assert!(why("builtin", true).contains("rename the file"));
    assert!(why("folder", true).contains("regular file"));

    let good = list
        .iter()
        .find(|entry| entry.name == "good")
        .expect("good");
    assert_eq!(good.architecture, "qwen3");
    assert_eq!(good.parameters, 32);
    assert_eq!(good.quantization, "Q8_0");
    assert_eq!(good.trained_tokens, Some(4096));
    assert_eq!(good.bytes, gguf().len() as u64);
    assert_eq!(good.source, EntrySource::File);
}

#[test]
fn a_store_without_a_directory_has_only_the_builtin_model() {
    let missing = Store::new("/nonexistent/fazai/models");
    let list = missing.list().expect("as good as empty");
    assert_eq!(list.len(), 1);
    assert!(matches!(
        missing.resolve("x"),
        Err(StoreError::NotFound { .. })
    ));
    assert!(matches!(
        missing.remove("x"),
        Err(StoreError::NotFound { .. })
    ));

    let scratch = Scratch::new("file");
    scratch.put("file", b"");
    let file = Store::new(scratch.0.dir().join("file"));
    assert!(matches!(file.list(), Err(StoreError::Directory { .. })));
    assert!(matches!(
        file.resolve("x"),
        Err(StoreError::Directory { .. })
    ));
}

#[test]
fn names_lead_to_models_and_nowhere_else() {
    let scratch = Scratch::new("resolve");
    scratch.put("good.gguf", &gguf());
    let store = &scratch.0;
    for name in ["builtin", "fazai-builtin"] {
        let resolved = store.resolve(name).expect(name);
        assert_eq!(resolved.name, "builtin");
        assert_eq!(resolved.source, ModelSource::Builtin);
    }
    let resolved = store.resolve("good").expect("there");
    assert_eq!(
        resolved.source,
        ModelSource::File(store.dir().join("good.gguf"))
    );
    for bad in ["../good", "/etc/passwd", "", ".", "a/b", ".good"] {
        assert!(
            matches!(store.resolve(bad), Err(StoreError::BadName(_))),
            "{bad}"
        );
        assert!(
            matches!(store.remove(bad), Err(StoreError::BadName(_))),
            "{bad}"
        );
        assert!(
            matches!(store.show(bad), Err(StoreError::BadName(_))),
            "{bad}"
        );
    }
}

#[test]
fn an_unknown_name_gets_the_nearest_one_or_the_command_that_downloads_it() {
    let scratch = Scratch::new("hints");
    scratch.put("Llama-Guard.gguf", &gguf());
    let says = |name: &str| match scratch.0.resolve(name) {
        Err(error @ StoreError::NotFound { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(says("llama-gard").contains("did you mean Llama-Guard?"));
    assert!(says("qwen3:0.6").contains("did you mean qwen3:0.6b?"));
    assert!(says("buildin").contains("did you mean builtin?"));
    assert!(says("zzzzzzzzzzzzzzzzzzzzz").contains("models list"));
    let known = says("qwen3:0.6b");
    if cfg!(feature = "hub") {
        assert!(known.contains("`fazai models pull qwen3:0.6b`"), "{known}");
        assert!(known.contains("609 MiB, Apache-2.0"), "{known}");
    }
}

#[test]
fn an_alias_means_the_catalogues_file_and_no_other() {
    let scratch = Scratch::new("alias");
    let store = &scratch.0;
    let known = catalog::find("qwen3:0.6b").expect("a row");
    scratch.put("Qwen3-0.6B-Q8_0.gguf", &gguf());
    assert!(
        store.resolve("qwen3:0.6b").is_err(),
        "nobody knows what it is"
    );
    scratch.put("Qwen3-0.6B-Q8_0.json", origin(&"1".repeat(64)).as_bytes());
    assert!(store.resolve("qwen3:0.6b").is_err(), "it is another file");
    scratch.put("Qwen3-0.6B-Q8_0.json", origin(known.sha256).as_bytes());
    let path = store.dir().join("Qwen3-0.6B-Q8_0.gguf");
    let resolved = store.resolve("qwen3:0.6b").expect("it is here");
    assert_eq!(resolved.source, ModelSource::File(path));
    let entry = store.show("qwen3:0.6b").expect("readable").entry;
    assert_eq!(entry.name, "Qwen3-0.6B-Q8_0");
    assert_eq!(entry.alias, Some("qwen3:0.6b"));
    assert!(matches!(entry.source, EntrySource::Hub(_)));
    store.remove("qwen3:0.6b").expect("removed by its alias");
    assert!(!store.dir().join("Qwen3-0.6B-Q8_0.json").exists());
    assert!(store.resolve("Qwen3-0.6B-Q8_0").is_err());
}

#[test]
fn only_the_command_line_may_name_paths() {
    let scratch = Scratch::new("paths");
    scratch.put("good.gguf", &gguf());
    let path = scratch.0.dir().join("good.gguf");
    let store = Store::new("/nonexistent");
    let text = path.to_str().expect("plain");
    let resolved = store.resolve_path_or_name(text).expect("a file");
    assert_eq!(resolved.name, "good");
    assert_eq!(resolved.source, ModelSource::File(path.clone()));
    assert!(matches!(store.resolve(text), Err(StoreError::BadName(_))));
    let missing = store.resolve_path_or_name("./missing.gguf");
    assert!(matches!(missing, Err(StoreError::NoFile(_))));
    let by_file_name = scratch.0.resolve_path_or_name("good.gguf");
    assert_eq!(
        by_file_name.expect("in the store").source,
        ModelSource::File(path)
    );
    let missing = scratch.0.resolve_path_or_name("missing.gguf");
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
}

#[test]
fn a_split_model_is_one_model() {
    let scratch = Scratch::new("split");
    scratch.put("big-00001-of-00002.gguf", &gguf());
    let list = scratch.0.list().expect("listed");
    assert_eq!(list[1].name, "big");
    assert_eq!(list[1].broken.as_deref(), Some("part 2 of 2 is missing"));
    assert!(matches!(
        scratch.0.resolve("big"),
        Err(StoreError::Broken { .. })
    ));
    scratch.put("big-00002-of-00002.gguf", &gguf());
    let list = scratch.0.list().expect("listed");
    assert_eq!(list.len(), 2);
    assert_eq!(list[1].broken, None);
    assert_eq!(list[1].bytes, 2 * gguf().len() as u64);
    assert_eq!(list[1].parameters, 64);
    let first = scratch.0.dir().join("big-00001-of-00002.gguf");
    let resolved = scratch.0.resolve("big").expect("complete");
    assert_eq!(resolved.source, ModelSource::File(first));
    assert_eq!(
        scratch.0.remove("big").expect("removed"),
        2 * gguf().len() as u64
    );
    assert_eq!(scratch.names(), ["builtin"]);
}

#[test]
fn details_tell_what_the_header_says_without_its_control_characters() {
    let scratch = Scratch::new("show");
    scratch.put("good.gguf", &gguf());
    let details = scratch.0.show("good").expect("readable");
    assert!(details.chat_template);
    assert_eq!(details.context_tokens, 4096);
    assert!(details.needs.total() > 0);
    let group = TensorGroup {
        kind: "Q8_0",
        tensors: 1,
        elements: 32,
    };
    assert_eq!(details.tensors, [group]);
    let find = |key: &str| details.metadata.iter().find(|(name, _)| name == key);
    let template = find("tokenizer.chat_template").expect("a template");
    assert_eq!(template.1, "{{ messages }}\\n\\u{1b}[2J");
    let builtin = scratch.0.show("builtin").expect("readable");
    assert_eq!(builtin.entry.path, None);
    scratch.put("text.gguf", b"text");
    assert!(matches!(
        scratch.0.show("text"),
        Err(StoreError::Broken { .. })
    ));
}

#[test]
fn removing_takes_everything_of_a_model_and_nothing_of_another() {
    let scratch = Scratch::new("remove");
    let store = &scratch.0;
    for file in [
        "a.gguf",
        "a.json",
        "a.gguf.part",
        "a.gguf.part.json",
        "ab.gguf",
        "a.b.gguf",
    ] {
        scratch.put(file, b"1234");
    }
    assert!(matches!(store.remove("builtin"), Err(StoreError::Builtin)));
    assert_eq!(store.remove("a").expect("removed"), 16);
    assert_eq!(scratch.names(), ["builtin", "a.b", "ab"]);
    assert!(matches!(
        store.remove("a"),
        Err(StoreError::NotFound { .. })
    ));
    scratch.put("half.gguf.part", b"12345");
    assert_eq!(store.remove("half").expect("an unfinished download"), 5);
}

#[test]
fn a_model_that_is_being_changed_is_not_removed() {
    let scratch = Scratch::new("busy");
    scratch.put("a.gguf", &gguf());
    let lock = Lock::take(Paths::new(scratch.0.dir(), "a").lock()).expect("free");
    let error = scratch.0.remove("a").expect_err("busy").to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    drop(lock);
    scratch.0.remove("a").expect("free");
}

#[test]
fn the_users_directory_follows_the_base_directory_specification() {
    let check = |data: Option<&str>, home: Option<&str>, expected: Option<&str>| {
        let found = user_dir(data.map(PathBuf::from), home.map(PathBuf::from));
        assert_eq!(found, expected.map(PathBuf::from), "{data:?} {home:?}");
    };
    check(Some("/d"), Some("/h"), Some("/d/fazai/models"));
    check(None, Some("/h"), Some("/h/.local/share/fazai/models"));
    check(
        Some("relative"),
        Some("/h"),
        Some("/h/.local/share/fazai/models"),
    );
    check(Some(""), Some("/h"), Some("/h/.local/share/fazai/models"));
    check(None, Some(""), None);
    check(None, None, None);
}
