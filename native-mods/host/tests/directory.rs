//! What is read from the module directory besides modules.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::Dir;
use fazai_modhost::{
    Entry, Keys, KeysError, MANIFEST_BYTES_MAX, Manifest, ManifestError, Refused, Trust, discover,
};

fn put(dir: &Dir, name: &str, text: impl AsRef<[u8]>) {
    let path = dir.path().join(name);
    fs::write(&path, text).expect("written");
    mode(&path, 0o644);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

#[test]
fn a_manifest_is_read_and_may_be_absent() {
    let dir = Dir::new();
    let nowhere = dir.path().join("nowhere");
    for absent in [dir.path(), &nowhere] {
        assert_eq!(Manifest::load(absent).expect("empty"), Manifest::default());
    }
    put(&dir, "modules.toml", "[[module]]\nname = 'rbl'");
    let manifest = Manifest::load(dir.path()).expect("valid");
    assert_eq!(manifest.modules, [Entry::unlisted("rbl")]);
}

#[test]
fn a_manifest_that_others_could_have_written_is_refused() {
    let refused = |dir: &Dir| match Manifest::load(dir.path()) {
        Err(ManifestError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let dir = Dir::new();
    put(&dir, "modules.toml", "");
    let file = dir.path().join("modules.toml");
    mode(&file, 0o666);
    assert!(matches!(refused(&dir), Refused::Writable { .. }));
    mode(&file, 0o644);
    mode(dir.path(), 0o777);
    assert!(matches!(refused(&dir), Refused::Writable { .. }));
    mode(dir.path(), 0o755);
    fs::remove_file(&file).expect("removed");
    let elsewhere = Dir::new();
    put(&elsewhere, "modules.toml", "");
    symlink(elsewhere.path().join("modules.toml"), &file).expect("a link");
    assert!(matches!(refused(&dir), Refused::Outside { .. }));
    // A link to nowhere is no absent file.
    fs::remove_file(elsewhere.path().join("modules.toml")).expect("removed");
    assert!(matches!(refused(&dir), Refused::Io { .. }));
}

#[test]
fn a_manifest_that_is_no_text_or_too_long_is_refused() {
    let dir = Dir::new();
    put(&dir, "modules.toml", b"# \xff");
    assert!(matches!(
        Manifest::load(dir.path()),
        Err(ManifestError::NotText { at: 2 })
    ));
    put(&dir, "modules.toml", "#".repeat(MANIFEST_BYTES_MAX + 1));
    assert!(matches!(
        Manifest::load(dir.path()),
        Err(ManifestError::Refused(Refused::TooLarge { .. }))
    ));
    put(&dir, "modules.toml", "[[modul]]");
    assert!(matches!(
        Manifest::load(dir.path()),
        Err(ManifestError::Syntax(_))
    ));
}

fn public_key() -> String {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("keys");
    pair.pk.to_box().expect("a key").into_string()
}

#[test]
fn several_keys_are_read_from_one_file() {
    let dir = Dir::new();
    let text = format!("# ours\n\n{}\r\n  # theirs\n{}", public_key(), public_key());
    put(&dir, "keys", text);
    Keys::load(&dir.path().join("keys")).expect("keys");
}

#[test]
fn a_file_of_keys_that_is_not_in_order_is_refused() {
    let dir = Dir::new();
    let path = dir.path().join("keys");
    let load = || Keys::load(&path).expect_err("must be refused");
    assert!(matches!(load(), KeysError::Refused(Refused::Io { .. })));
    put(&dir, "keys", "# none yet\nuntrusted comment: nor here\n");
    assert!(matches!(load(), KeysError::Empty(_)));
    put(&dir, "keys", format!("{}\nRWnonsense", public_key()));
    let error = load();
    assert!(matches!(error, KeysError::Line { line: 4, .. }), "{error}");
    assert!(error.to_string().contains("RWnonsense"), "{error}");
    put(&dir, "keys", b"\xff\xff");
    assert!(matches!(load(), KeysError::Line { line: 1, .. }));
    put(&dir, "keys", public_key());
    mode(&path, 0o666);
    assert!(matches!(
        load(),
        KeysError::Refused(Refused::Writable { .. })
    ));
    put(&dir, "keys", "#".repeat(65 << 10));
    assert!(matches!(
        load(),
        KeysError::Refused(Refused::TooLarge { .. })
    ));
}

#[test]
fn modules_are_found_unless_the_manifest_alone_is_trusted() {
    let dir = Dir::new();
    for file in [
        "zeta.so",
        "alpha.so",
        "libb.so",
        "listed.so",
        "UPPER.so",
        "a.txt",
        ".so",
    ] {
        put(&dir, file, "");
    }
    let text = "[[module]]\nname = 'b'\nfile = 'libb.so'\n[[module]]\nname = 'listed'\n\
                [[module]]\nname = 'absent'";
    let manifest = Manifest::parse(text).expect("valid");
    let names = |dir: &Path, trust: &Trust| -> Vec<String> {
        let entries = discover(dir, &manifest, trust);
        entries.into_iter().map(|entry| entry.name).collect()
    };
    let listed = ["absent", "b", "listed"];
    assert_eq!(names(dir.path(), &Trust::Manifest), listed);
    let all = ["absent", "alpha", "b", "listed", "zeta"];
    for trust in [Trust::Any, Trust::Signature(Keys::default())] {
        assert_eq!(names(dir.path(), &trust), all);
    }
    assert_eq!(names(Path::new("/nowhere"), &Trust::Any), listed);
    let found = discover(dir.path(), &manifest, &Trust::Any);
    assert_eq!(found[1], Entry::unlisted("alpha"));
    assert_eq!(found[2].file_name(), Path::new("libb.so"));
}

#[test]
fn there_is_an_end_to_what_is_found() {
    let dir = Dir::new();
    for number in 0..1100 {
        put(&dir, &format!("m{number:04}.so"), "");
    }
    let manifest = Manifest::parse("[[module]]\nname = 'zz'").expect("valid");
    let found = discover(dir.path(), &manifest, &Trust::Any);
    assert_eq!(found.len(), 1024);
    assert_eq!(found[1022].name, "m1022");
    assert_eq!(found[1023].name, "zz", "what is listed is not left out");
}
