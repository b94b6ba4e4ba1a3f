//! Every rule that keeps a file from being loaded.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use common::{Dir, own_process};
use fazai_modhost::{Entry, FILE_BYTES_MAX, Keys, Limits, Module, Refused, Trust, check};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

fn refused(dir: &Path, entry: &Entry, trust: &Trust) -> Refused {
    check(dir, entry, trust).expect_err("must be refused")
}

/// A directory with a file that would load.
fn good() -> (Dir, Entry) {
    let dir = Dir::new();
    let file = dir.path().join("m.so");
    fs::write(&file, "bytes").expect("written");
    mode(&file, 0o644);
    (dir, Entry::unlisted("m"))
}

#[test]
fn the_place_of_a_file() {
    let (dir, entry) = good();
    dir.check(&entry);
    let any = &Trust::Any;
    for name in ["", "../m", "M", "a/b"] {
        assert!(matches!(
            refused(dir.path(), &Entry::unlisted(name), any),
            Refused::Name(_)
        ));
    }
    for file in ["../m.so", "/etc/passwd", "./../m.so"] {
        let entry = Entry {
            file: Some(file.into()),
            ..entry.clone()
        };
        assert!(matches!(
            refused(dir.path(), &entry, any),
            Refused::FileName(_)
        ));
    }
    // A link within is followed, and one that leads out is not.
    symlink(dir.path().join("m.so"), dir.path().join("within.so")).expect("a link");
    assert!(dir.check(&Entry::unlisted("within")).path.ends_with("m.so"));
    let (elsewhere, _) = good();
    symlink(elsewhere.path().join("m.so"), dir.path().join("out.so")).expect("a link");
    assert!(matches!(
        refused(dir.path(), &Entry::unlisted("out"), any),
        Refused::Outside { .. }
    ));
    assert!(matches!(
        refused(dir.path(), &Entry::unlisted("none"), any),
        Refused::Io { .. }
    ));
    fs::create_dir(dir.path().join("dir.so")).expect("a directory");
    assert!(matches!(
        refused(dir.path(), &Entry::unlisted("dir"), any),
        Refused::NotAFile(_)
    ));
    let pipe = std::process::Command::new("mkfifo")
        .arg(dir.path().join("pipe.so"))
        .status();
    assert!(pipe.expect("mkfifo").success());
    assert!(matches!(
        refused(dir.path(), &Entry::unlisted("pipe"), any),
        Refused::NotAFile(_)
    ));
}

#[test]
fn who_could_change_it() {
    let any = &Trust::Any;
    let (dir, entry) = good();
    for bad in [0o664, 0o646, 0o666] {
        mode(&dir.path().join("m.so"), bad);
        assert!(matches!(
            refused(dir.path(), &entry, any),
            Refused::Writable { .. }
        ));
    }
    mode(&dir.path().join("m.so"), 0o644);
    // Sticky is not enough for the module directory itself.
    for bad in [0o770, 0o707, 0o1777] {
        mode(dir.path(), bad);
        assert!(matches!(
            refused(dir.path(), &entry, any),
            Refused::Writable { .. }
        ));
    }
    // Nor may a directory above it be open.
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).expect("a directory");
    mode(&inner, 0o755);
    fs::copy(dir.path().join("m.so"), inner.join("m.so")).expect("copied");
    mode(dir.path(), 0o777);
    assert!(matches!(
        refused(&inner, &entry, any),
        Refused::Writable { .. }
    ));
    mode(dir.path(), 0o755);
    check(&inner, &entry, any).expect("closed again");
    if rustix::process::geteuid().is_root() {
        chown(inner.join("m.so"), Some(12345), None).expect("chown");
        assert!(matches!(
            refused(&inner, &entry, any),
            Refused::Owner { owner: 12345, .. }
        ));
        chown(inner.join("m.so"), Some(0), None).expect("chown");
        chown(&inner, Some(12345), None).expect("chown");
        assert!(matches!(
            refused(&inner, &entry, any),
            Refused::Owner { owner: 12345, .. }
        ));
    }
}

#[test]
fn how_large_it_is() {
    let (dir, entry) = good();
    let file = fs::File::options()
        .write(true)
        .open(dir.path().join("m.so"))
        .expect("open");
    file.set_len(FILE_BYTES_MAX + 1).expect("long");
    assert!(matches!(
        refused(dir.path(), &entry, &Trust::Any),
        Refused::TooLarge { .. }
    ));
}

#[test]
fn whether_the_manifest_has_its_hash() {
    let (dir, entry) = good();
    let Refused::Unlisted { found, .. } = refused(dir.path(), &entry, &Trust::Manifest) else {
        panic!("it has no hash");
    };
    // What the error says to write is what is taken, in either case.
    for hash in [found.clone(), found.to_uppercase()] {
        let listed = Entry {
            sha256: Some(hash),
            ..entry.clone()
        };
        check(dir.path(), &listed, &Trust::Manifest).expect("listed");
    }
    let listed = Entry {
        sha256: Some(found),
        ..entry
    };
    fs::write(dir.path().join("m.so"), "other").expect("written");
    for trust in [Trust::Manifest, Trust::Any] {
        assert!(matches!(
            refused(dir.path(), &listed, &trust),
            Refused::Hash { .. }
        ));
    }
}

#[test]
fn whether_a_trusted_key_signed_it() {
    let (dir, entry) = good();
    let signature = dir.path().join("m.so.minisig");
    let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("keys");
    let other = minisign::KeyPair::generate_unencrypted_keypair().expect("keys");
    let sign = |pair: &minisign::KeyPair, bytes: &[u8]| {
        let made = minisign::sign(Some(&pair.pk), &pair.sk, bytes, None, None).expect("signed");
        fs::write(&signature, made.into_string()).expect("written");
        mode(&signature, 0o644);
    };
    let text = pair.pk.to_box().expect("a key").into_string();
    let trust = Trust::Signature(Keys::parse([text.as_str()]).expect("a key"));
    assert!(matches!(
        refused(dir.path(), &entry, &trust),
        Refused::Unsigned(_)
    ));
    fs::write(&signature, "no signature").expect("written");
    mode(&signature, 0o644);
    assert!(matches!(
        refused(dir.path(), &entry, &trust),
        Refused::BadSignature(_)
    ));
    sign(&other, b"bytes");
    assert!(matches!(
        refused(dir.path(), &entry, &trust),
        Refused::Untrusted(_)
    ));
    sign(&pair, b"other bytes");
    assert!(matches!(
        refused(dir.path(), &entry, &trust),
        Refused::Untrusted(_)
    ));
    sign(&pair, b"bytes");
    check(dir.path(), &entry, &trust).expect("signed");
    let none = Trust::Signature(Keys::default());
    assert!(matches!(
        refused(dir.path(), &entry, &none),
        Refused::Untrusted(_)
    ));
    mode(&signature, 0o666);
    assert!(matches!(
        refused(dir.path(), &entry, &trust),
        Refused::Writable { .. }
    ));
}

#[test]
fn a_file_swapped_between_check_and_load_is_not_loaded() {
    let dir = Dir::new();
    let file = dir.compile("full", "full", &["VERSION=\"checked\""]);
    let entry = Entry::unlisted("full");
    let Refused::Unlisted { found, .. } = refused(dir.path(), &entry, &Trust::Manifest) else {
        panic!("it has no hash");
    };
    let entry = Entry {
        sha256: Some(found),
        ..entry
    };
    let checked = check(dir.path(), &entry, &Trust::Manifest).expect("listed");
    // Both ways: another file by that name, and other bytes in the same file.
    let other = Dir::new();
    let swapped = fs::read(other.compile("full", "full", &["VERSION=\"swapped\""])).expect("read");
    fs::write(&file, &swapped).expect("written");
    fs::remove_file(&file).expect("removed");
    fs::write(&file, &swapped).expect("written");
    mode(&file, 0o644);
    let module = Module::load(checked, own_process(), Limits::default()).expect("loads");
    assert_eq!(module.exec("version").expect("answers").text, "checked");
    // Nor after a crash, nor when it is checked again.
    assert!(matches!(
        refused(dir.path(), &entry, &Trust::Manifest),
        Refused::Hash { .. }
    ));
}
