//! Where keys are, which one is used, and which one rests.
//!
//! A [`Key`] clears its memory when it goes, and shows itself to nobody: not in `Debug`, and it has
//! no `Display`. What the HTTP library copies into its buffers is beyond that.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::error::CloudError;
use crate::program::{self, read_file};

/// A key for a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<String>);

/// Where keys are. A source may have several, one for each line.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In the settings themselves.
    Value(Key),
    /// A file that only its owner and group can read.
    File(PathBuf),
    /// A credential of systemd, by its name.
    Credential(String),
    /// An environment variable.
    Env(String),
    /// What a program writes, by its words.
    Command(Vec<String>),
}

/// The longest key.
const KEY_BYTES_MAX: usize = 8 << 10;
/// The longest output of a source.
const SOURCE_BYTES_MAX: usize = 64 << 10;
/// The most keys of one provider.
const KEYS_MAX: usize = 64;
/// How long a program may take to tell a key.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);

impl Key {
    /// Takes a key as it is written.
    ///
    /// # Errors
    /// [`CloudError::Settings`] if it could not be a header; the error does not show it.
    pub fn new(text: &str) -> Result<Self, CloudError> {
        let text = text.trim();
        let usable = (1..=KEY_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !usable {
            let why = "a key must be printable ASCII without spaces, up to 8 KiB";
            return Err(CloudError::Settings(why.to_owned()));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The key itself, for a header.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySource({self})")
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("the settings"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Credential(name) => write!(f, "the credential {name}"),
            Self::Env(name) => write!(f, "the variable {name}"),
            // Its arguments may be secret.
            Self::Command(words) => {
                write!(
                    f,
                    "the command {}",
                    words.first().map_or("", String::as_str)
                )
            }
        }
    }
}

impl KeySource {
    /// The keys that are there now. Blocks: a program may be asked.
    ///
    /// # Errors
    /// [`CloudError`] with the place and what is wrong with it, never with what is in it.
    pub fn read(&self) -> Result<Vec<Key>, CloudError> {
        let text = match self {
            Self::Value(key) => return Ok(vec![key.clone()]),
            Self::File(path) => file(path)?,
            Self::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    CloudError::Settings(format!(
                        "{self}: systemd passed no credentials; add LoadCredential={name} to the unit"
                    ))
                })?;
                if name.contains('/') || name.starts_with('.') {
                    return Err(CloudError::Settings(format!(
                        "{self}: a plain name is needed"
                    )));
                }
                file(&Path::new(&directory).join(name))?
            }
            Self::Env(name) => {
                let value = std::env::var(name)
                    .map_err(|_| CloudError::Settings(format!("{self} is not set")))?;
                Zeroizing::new(value)
            }
            Self::Command(words) => command(words)?,
        };
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Key> = lines
            .map(Key::new)
            .collect::<Result<_, _>>()
            .map_err(|fault| CloudError::Settings(format!("{self}: {fault}")))?;
        if keys.is_empty() || keys.len() > KEYS_MAX {
            let why = format!("{self} has {} keys; 1 to {KEYS_MAX} are needed", keys.len());
            return Err(CloudError::Settings(why));
        }
        Ok(keys)
    }
}

fn file(path: &Path) -> Result<Zeroizing<String>, CloudError> {
    let what = format!("the key file {}", path.display());
    let (meta, text) = read_file(path, SOURCE_BYTES_MAX, &what)?;
    // Not the directory of credentials: systemd makes it readable for the service alone.
    if meta.permissions().mode() & 0o007 != 0 {
        let why = format!(
            "{what} can be read or changed by everybody; `chmod o= {}`",
            path.display()
        );
        return Err(CloudError::Settings(why));
    }
    Ok(text)
}

/// What a program writes. It is ended if it takes too long.
fn command(words: &[String]) -> Result<Zeroizing<String>, CloudError> {
    let program = words.first().map_or("", String::as_str);
    let what = format!("the key command {program}");
    let ran = program::run(words, &what, COMMAND_TIME_MAX, SOURCE_BYTES_MAX)?;
    if !ran.status.success() {
        let status = ran.status;
        return Err(CloudError::Settings(format!("{what} failed: {status}")));
    }
    Ok(ran.output)
}

/// The keys of one provider, and how long each of them rests.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    keys: Vec<(Key, Option<Instant>)>,
    next: usize,
}

/// A key of a ring.
#[derive(Debug, Clone)]
pub(crate) struct Picked {
    pub(crate) index: usize,
    pub(crate) key: Key,
}

impl Ring {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self {
            keys: keys.into_iter().map(|key| (key, None)).collect(),
            next: 0,
        }
    }

    /// The same with the keys that are there now; who rests goes on resting.
    pub(crate) fn renewed(self, keys: Vec<Key>) -> Self {
        let mut fresh = Self::new(keys);
        for (key, rests) in &mut fresh.keys {
            let known = self.keys.iter().find(|(known, _)| known == key);
            *rests = known.and_then(|(_, rests)| *rests);
        }
        fresh
    }

    /// The next key that does not rest; otherwise when the first one will be ready.
    pub(crate) fn pick(&mut self, now: Instant) -> Result<Picked, Duration> {
        let count = self.keys.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            let (key, rests) = &self.keys[index];
            if rests.is_none_or(|until| until <= now) {
                self.next = (index + 1) % count;
                return Ok(Picked {
                    index,
                    key: key.clone(),
                });
            }
        }
        Err(self.rest_left(now).unwrap_or_default())
    }

    /// How long all keys still rest; none: one is ready.
    pub(crate) fn rest_left(&self, now: Instant) -> Option<Duration> {
        let rests = self
            .keys
            .iter()
            .map(|(_, until)| until.map_or(Duration::ZERO, |u| u.saturating_duration_since(now)));
        rests.min().filter(|left| !left.is_zero())
    }

    /// Lets a key rest.
    pub(crate) fn cool(&mut self, index: usize, until: Instant) {
        if let Some((_, rests)) = self.keys.get_mut(index) {
            *rests = Some(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-verysecret-0123456789";

    fn keys(texts: &[&str]) -> Vec<Key> {
        texts.iter().map(|text| Key::new(text).unwrap()).collect()
    }

    #[test]
    fn a_key_shows_itself_to_nobody() {
        let key = Key::new(SECRET).unwrap();
        let source = KeySource::Value(key.clone());
        let command = KeySource::Command(vec!["pass".into(), SECRET.into()]);
        let shown = format!("{key:?} {source:?} {source} {command:?} {command}");
        assert!(!shown.contains("verysecret"), "{shown}");
        let fault = Key::new("sk-verysecret with a space").unwrap_err();
        assert!(!fault.to_string().contains("verysecret"), "{fault}");
    }

    #[test]
    fn a_file_has_a_key_for_each_line_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, "# mine\nsk-one\n\n  sk-two \n").unwrap();
        let mode =
            |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        let source = KeySource::File(path.clone());
        assert_eq!(source.read().unwrap(), keys(&["sk-one", "sk-two"]));
        mode(0o604);
        let fault = source.read().unwrap_err().to_string();
        assert!(fault.contains("chmod o="), "{fault}");
        mode(0o600);
        std::fs::write(&path, "# nothing").unwrap();
        assert!(source.read().is_err());
        std::fs::write(&path, "x".repeat(70 << 10)).unwrap();
        assert!(source.read().is_err());
    }

    #[test]
    fn a_program_may_know_the_key_and_may_fail() {
        let told = KeySource::Command(vec!["echo".into(), "sk-told".into()]);
        assert_eq!(told.read().unwrap(), keys(&["sk-told"]));
        for words in [vec!["false"], vec!["/does/not/exist"], vec![], vec!["true"]] {
            let words = words.into_iter().map(str::to_owned).collect();
            assert!(KeySource::Command(words).read().is_err());
        }
    }

    #[test]
    fn what_is_not_there_says_where_it_should_be() {
        let env = KeySource::Env("FAZAI_TEST_NO_SUCH_VARIABLE".into());
        let fault = env.read().unwrap_err().to_string();
        assert!(fault.contains("FAZAI_TEST_NO_SUCH_VARIABLE"), "{fault}");
        let credential = KeySource::Credential("openai".into());
        assert!(credential.read().is_err());
    }

    #[test]
    fn keys_take_turns_and_rest() {
        let now = Instant::now();
        let mut ring = Ring::new(keys(&["a", "b"]));
        assert_eq!(ring.pick(now).unwrap().index, 0);
        assert_eq!(ring.pick(now).unwrap().index, 1);
        ring.cool(0, now + Duration::from_secs(9));
        assert_eq!(ring.pick(now).unwrap().index, 1);
        assert_eq!(ring.rest_left(now), None);
        ring.cool(1, now + Duration::from_secs(5));
        assert_eq!(ring.pick(now).unwrap_err(), Duration::from_secs(5));
        assert_eq!(ring.pick(now + Duration::from_secs(5)).unwrap().index, 1);
    }
}
