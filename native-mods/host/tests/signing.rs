//! What is signed here is taken here, and by nobody else's key.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::Dir;
use fazai_modhost::sign::{SignError, generate, sign};
use fazai_modhost::{Entry, Keys, Refused, Trust, check};

fn put(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("permissions");
}

fn password(text: &str) -> Option<String> {
    Some(text.into())
}

#[test]
fn a_module_that_was_signed_is_trusted() {
    for password in [None, password("correct horse")] {
        let dir = Dir::new();
        let keys = generate(password.clone()).expect("keys");
        put(&dir.path().join("m.so"), "bytes");
        let signature =
            sign(b"bytes", &keys.secret_key, password, "m.so\nuntrusted").expect("signed");
        assert_eq!(signature.lines().count(), 4, "{signature}");
        assert!(signature.contains("\tfile:m.sountrusted\t"), "{signature}");
        put(&dir.path().join("m.so.minisig"), signature);
        let file = dir.path().join("trusted.pub");
        put(&file, &keys.public_key);
        let entry = Entry::unlisted("m");
        let trust = Trust::Signature(Keys::load(&file).expect("a key"));
        check(dir.path(), &entry, &trust).expect("signed");
        let other = generate(None).expect("keys");
        let other = Keys::parse([other.public_key.as_str()]).expect("a key");
        assert!(matches!(
            check(dir.path(), &entry, &Trust::Signature(other)),
            Err(Refused::Untrusted(_))
        ));
        put(&dir.path().join("m.so"), "other");
        assert!(matches!(
            check(dir.path(), &entry, &trust),
            Err(Refused::Untrusted(_))
        ));
    }
}

#[test]
fn a_key_that_does_not_open_says_what_to_do() {
    let encrypted = generate(password("right")).expect("keys").secret_key;
    let plain = generate(None).expect("keys").secret_key;
    let error = |key: &str, password| sign(b"", key, password, "m").expect_err("no signature");
    let no_password = error(&encrypted, None);
    assert!(matches!(no_password, SignError::NoPassword));
    assert!(no_password.to_string().contains("give its password"));
    let wrong = error(&encrypted, password("wrong"));
    assert!(matches!(wrong, SignError::WrongPassword), "{wrong}");
    sign(b"", &plain, password("needless"), "m").expect("it has none");
    let cut = |key: &str| key[..key.len() - 40].to_owned();
    // The last digits of the base64 are part of the checksum.
    let changed = |key: &str| {
        let at = key.trim_end().len() - 10;
        let digit = if &key[at..=at] == "A" { "B" } else { "A" };
        format!("{}{digit}{}", &key[..at], &key[at + 1..])
    };
    for damaged in ["", "one line", "two\nlines", &cut(&plain), &changed(&plain)] {
        let bad = error(damaged, None);
        assert!(matches!(bad, SignError::BadKey), "{damaged}: {bad}");
    }
    let bad = error(&cut(&encrypted), password("right"));
    assert!(matches!(bad, SignError::BadKey), "{bad}");
    // Nobody can tell this from a wrong password.
    let bad = error(&changed(&encrypted), password("right"));
    assert!(matches!(bad, SignError::WrongPassword), "{bad}");
}

#[test]
fn a_secret_key_is_not_shown() {
    let keys = generate(None).expect("keys");
    let shown = format!("{keys:?}");
    let secret = keys.secret_key.lines().nth(1).expect("two lines");
    assert!(!shown.contains(secret) && shown.contains("public_key"));
}
