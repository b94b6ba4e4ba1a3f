//! The dependency arrows of ARCHITECTURE.md. Each absence stands beside a presence, so that a
//! name that was misspelt or changed fails instead of passing.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fazai_tests::{root, stdout};

/// The packages that `package` depends on, directly or not, with its default features.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    stdout(output)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn check(package: &str, has: &[&str], lacks: &[&str]) {
    let dependencies = dependencies(package);
    for name in has {
        assert!(
            dependencies.contains(*name),
            "{package} does not depend on {name}"
        );
    }
    for name in lacks {
        assert!(!dependencies.contains(*name), "{package} depends on {name}");
    }
}

#[test]
fn arrows_point_one_way() {
    check(
        "fazai-protocol",
        &["serde_json", "schemars"],
        &["fazai-models", "fazai", "llama-cpp-2", "reqwest"],
    );
    check(
        "fazai-models",
        &["llama-cpp-2", "candle-core", "tokenizers", "hf-hub"],
        &["fazai-protocol", "fazai"],
    );
    check(
        "fazai-sandbox",
        &["landlock", "seccompiler"],
        &["fazai-modhost", "fazai-tools", "fazai"],
    );
    check(
        "fazai-modhost",
        &["fazai-sandbox"],
        &["fazai-tools", "fazai"],
    );
    check(
        "fazai-tools",
        &["fazai-sandbox"],
        &["fazai-modhost", "fazai-models", "fazai-protocol", "fazai"],
    );
    check(
        "fazai-memory",
        &["html2text", "qdrant-client"],
        &["fazai-models", "fazai-protocol", "fazai-tools", "fazai"],
    );
    check(
        "fazai-watch",
        &["aho-corasick", "ipnet"],
        &[
            "fazai-models",
            "fazai-protocol",
            "fazai-tools",
            "tokio",
            "fazai",
        ],
    );
    check(
        "fazai-cloud",
        &["reqwest", "sse-stream"],
        &[
            "fazai-memory",
            "fazai-models",
            "fazai-protocol",
            "fazai-tools",
            "fazai",
        ],
    );
    check(
        "fazai",
        &["fazai-models", "fazai-protocol", "fazai-modhost"],
        &["fazai-tests"],
    );
}

/// Rust sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The files below `folders` in which `word` occurs, without the tests.
fn naming(word: &str, folders: &[&str]) -> BTreeSet<String> {
    let files = folders
        .iter()
        .flat_map(|folder| sources(&root().join(folder)));
    files
        .filter(|file| fs::read_to_string(file).unwrap().contains(word))
        .map(|file| file.strip_prefix(root()).unwrap().display().to_string())
        .collect()
}

#[test]
fn only_the_llama_backend_names_llama_cpp() {
    let folders = ["protocol/src", "models/src", "worker/src", "tests/src"];
    let files = naming("llama_cpp", &folders);
    assert!(files.contains("models/src/backend/llama/context.rs"));
    for file in &files {
        assert!(file.starts_with("models/src/backend/llama"), "{file}");
    }
}

#[test]
fn unsafe_code_stays_at_the_c_border() {
    let folders = [
        "protocol/src",
        "models/src",
        "worker/src",
        "worker/cloud/src",
        "native-mods/host/src",
        "native-mods/sdk/src",
        "tools/src",
        "tools/sandbox/src",
    ];
    let borders = [
        "models/src/backend/llama",
        "native-mods/host/src/abi.rs",
        "native-mods/host/src/child/",
        "native-mods/sdk/src/",
        "tools/sandbox/src/layers/apart.rs",
        "tools/sandbox/src/layers/limits.rs",
        "tools/sandbox/src/layers/mounts.rs",
    ];
    let files = naming("unsafe {", &folders);
    for border in borders {
        assert!(
            files.iter().any(|file| file.starts_with(border)),
            "{border}"
        );
    }
    for file in &files {
        assert!(
            borders.iter().any(|border| file.starts_with(border)),
            "{file}"
        );
    }
}

#[test]
fn every_test_file_is_run() {
    // A file in a `tests` folder beside a `tests.rs`, or below `tests/tests`, is found by cargo;
    // one elsewhere would be forgotten.
    let manifest = fs::read_to_string(root().join("tests/Cargo.toml")).unwrap();
    assert!(!manifest.contains("autotests = false"));
    for file in sources(&root().join("tests/tests")) {
        assert_eq!(
            file.parent(),
            Some(root().join("tests/tests").as_path()),
            "{}",
            file.display()
        );
    }
}
