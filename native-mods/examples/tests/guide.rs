//! The modules in C and C++ of the guide, `native-mods/README.md`, built by the lines that it gives
//! in an empty folder. `cargo test` of `fazai-module` compiles the one in Rust.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;
use std::process::Command;
use std::{env, fs, process};

use fazai_module_examples::Loaded;

/// The text of the only block in `language` that has `part` in it.
fn block<'a>(guide: &'a str, language: &str, part: &str) -> &'a str {
    let open = format!("```{language}\n");
    let blocks = guide.split(&open).skip(1);
    let mut found = blocks
        .map(|rest| rest.split("```").next().unwrap())
        .filter(|block| block.contains(part));
    let block = found.next().expect(part);
    assert_eq!(found.next(), None, "one block with {part}");
    block
}

#[track_caller]
fn check(language: &str, file: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = fs::read_to_string(root.join("native-mods/README.md")).unwrap();
    let folder = env::temp_dir().join(format!("fazai-guide-{}-{language}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let source = block(&guide, language, "#include \"fazai_mod.h\"");
    fs::write(folder.join(file), source).unwrap();
    let line = block(&guide, "sh", &format!("{file} -o hello.so"));
    let built = Command::new("sh")
        .args(["-e", "-c", line])
        .env("FAZAI", &root)
        .current_dir(&folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && errors.is_empty(), "{errors}");

    let hello = Loaded::copy_of(&folder.join("hello.so"), &[]);
    hello.check_descriptor("hello", 0, 0);
    assert_eq!(hello.good("greet Ada"), "Hello, Ada!");
    assert_eq!(hello.bad("dance"), "no command 'dance': say greet NAME");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_module_in_c() {
    check("c", "hello.c");
}

#[test]
fn the_module_in_cpp() {
    check("cpp", "hello.cpp");
}
