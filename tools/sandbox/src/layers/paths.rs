//! Paths as the process that is to be confined is told of them: a name of a file may be no UTF-8, and
//! JSON has no other texts.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(std::borrow::Cow<'a, str>),
    Bytes(Vec<u8>),
}

pub(super) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| match path.to_str() {
        Some(text) => Written::Text(text.into()),
        None => Written::Bytes(path.as_os_str().as_bytes().to_vec()),
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    let written = Vec::<Written<'_>>::deserialize(from)?;
    let path = |written| match written {
        Written::Text(text) => PathBuf::from(text.into_owned()),
        Written::Bytes(bytes) => OsString::from_vec(bytes).into(),
    };
    Ok(written.into_iter().map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Mounts;
    use super::*;

    #[test]
    fn any_name_survives_json() {
        let odd = PathBuf::from(OsString::from_vec(b"/home/n\xffx".to_vec()));
        let mounts = Mounts {
            hidden: vec!["/root".into(), odd],
            ..Mounts::default()
        };
        let text = serde_json::to_string(&mounts).expect("JSON");
        assert!(text.contains(r#""/root""#), "{text}");
        assert_eq!(serde_json::from_str::<Mounts>(&text).ok(), Some(mounts));
    }
}
