//! Named prompts that outlive the process: what a model computed of them, in files.
//!
//! A file is of use to the same build with the same model only, and to a prompt that begins with
//! the same tokens; anything else in its place is ignored and written anew.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tracing::{debug, warn};

use crate::hex::hex;
use crate::replace::{private_dir, replace};
use crate::vocabulary::Token;

/// The beginning of every file; the number changes with the format.
const MAGIC: &[u8; 8] = b"fazaikv1";

/// The ending of their names.
const EXTENSION: &str = "kv";

/// What makes a state usable: the model's file, its template, this build.
pub type Fingerprint = [u8; 32];

/// A directory of states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptStore {
    dir: PathBuf,
    fingerprint: Fingerprint,
    bytes_max: u64,
}

impl PromptStore {
    /// The states of one model in `dir`, which may hold so many bytes in all.
    #[must_use]
    pub fn new(dir: PathBuf, fingerprint: Fingerprint, bytes_max: u64) -> Self {
        Self {
            dir,
            fingerprint,
            bytes_max,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(self.fingerprint);
        hash.update(name);
        let name = &hex(&hash.finalize())[..32];
        self.dir.join(name).with_extension(EXTENSION)
    }

    /// The state that was saved under the name for exactly these tokens.
    #[must_use]
    pub fn load(&self, name: &str, tokens: &[Token]) -> Option<Vec<u8>> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        let mut file = File::open(&path).ok()?;
        // A file that grew would be refused anyway.
        let most = self.bytes_max.saturating_add(1);
        if let Err(fault) = Read::by_ref(&mut file).take(most).read_to_end(&mut bytes) {
            warn!(path = %path.display(), %fault, "a stored prompt can't be read");
            return None;
        }
        let Some(state) = self.checked(&bytes, tokens) else {
            warn!(path = %path.display(), "a stored prompt is damaged or of another prompt: it is made anew");
            return None;
        };
        // The oldest go first when there is no room.
        let _ = file.set_modified(SystemTime::now());
        debug!(name, tokens = tokens.len(), "a stored prompt is used");
        Some(state.to_vec())
    }

    /// The state in a file's bytes, if all of them are as they should be.
    fn checked<'a>(&self, bytes: &'a [u8], tokens: &[Token]) -> Option<&'a [u8]> {
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        let rest = body.strip_prefix(MAGIC)?;
        let rest = rest.strip_prefix(&self.fingerprint[..])?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*count) as usize != tokens.len() {
            return None;
        }
        let (written, state) = rest.split_at_checked(tokens.len().checked_mul(4)?)?;
        let (written, _) = written.as_chunks::<4>();
        let written = written.iter().map(|&token| Token::from_le_bytes(token));
        let same = written.eq(tokens.iter().copied());
        (same && Sha256::digest(body)[..] == sum[..]).then_some(state)
    }

    /// Saves a state. Older ones are removed until there is room; one that is too large by itself
    /// is not saved.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self, name: &str, tokens: &[Token], state: &[u8]) -> io::Result<()> {
        let mut head = Vec::with_capacity(44 + tokens.len() * 4);
        head.extend(MAGIC);
        head.extend(self.fingerprint);
        head.extend(
            u32::try_from(tokens.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        head.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
        let total = (head.len() + state.len() + 32) as u64;
        if total > self.bytes_max {
            debug!(name, total, "a prompt is too large for the store");
            return Ok(());
        }
        private_dir(&self.dir)?;
        let path = self.path(name);
        self.make_room(total, &path)?;
        replace(&path, |file| write_summed(file, &[&head, state]))
    }

    /// Removes states until so many more bytes fit, those first that were of use the longest ago.
    fn make_room(&self, bytes: u64, replaced: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            let ours = path.extension().is_some_and(|ending| ending == EXTENSION);
            if ours
                && path != replaced
                && let Ok(metadata) = entry.metadata()
            {
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in files {
            if held + bytes <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            held -= length;
        }
        Ok(())
    }
}

/// Writes all of it, with its sum.
fn write_summed(file: &mut File, parts: &[&[u8]]) -> io::Result<()> {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update(part);
        file.write_all(part)?;
    }
    file.write_all(&sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = format!("fazai-prompts-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(dir))
        }

        fn store(&self, fingerprint: u8, bytes_max: u64) -> PromptStore {
            PromptStore::new(self.0.clone(), [fingerprint; 32], bytes_max)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const TOKENS: [Token; 3] = [1, 2, 70_000];

    #[test]
    fn a_state_comes_back_for_the_same_model_name_and_tokens_only() {
        let dir = Dir::new("same");
        let store = dir.store(1, 1_000);
        assert_eq!(store.load("triage", &TOKENS), None);
        store.save("triage", &TOKENS, b"state").expect("saved");
        assert_eq!(
            store.load("triage", &TOKENS).as_deref(),
            Some(&b"state"[..])
        );
        assert_eq!(store.load("other", &TOKENS), None);
        assert_eq!(store.load("triage", &[1, 2, 3]), None);
        assert_eq!(store.load("triage", &TOKENS[..2]), None);
        assert_eq!(dir.store(2, 1_000).load("triage", &TOKENS), None);
        // A file of another model under this name is no better.
        fs::copy(store.path("triage"), dir.store(2, 1_000).path("triage")).expect("copied");
        assert_eq!(dir.store(2, 1_000).load("triage", &TOKENS), None);
    }

    #[test]
    fn every_damage_is_noticed_and_mended_by_the_next_save() {
        let dir = Dir::new("damage");
        let store = dir.store(1, 1_000);
        store.save("triage", &TOKENS, b"state").expect("saved");
        let whole = fs::read(store.path("triage")).expect("there");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(store.path("triage"), &bytes).expect("written");
            assert_eq!(store.load("triage", &TOKENS), None, "byte {at}");
            fs::write(store.path("triage"), &whole[..at]).expect("written");
            assert_eq!(store.load("triage", &TOKENS), None, "cut at {at}");
        }
        store.save("triage", &TOKENS, b"state").expect("saved");
        assert!(store.load("triage", &TOKENS).is_some());
    }

    #[test]
    fn the_store_keeps_its_size_and_what_was_of_use_last() {
        let dir = Dir::new("size");
        let store = dir.store(1, 1_000);
        let state = [7; 300];
        for name in ["a", "b"] {
            store.save(name, &TOKENS, &state).expect("saved");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(store.load("a", &TOKENS).is_some());
        store.save("c", &TOKENS, &state).expect("saved");
        let there = |name| store.load(name, &TOKENS).is_some();
        assert_eq!((there("a"), there("b"), there("c")), (true, false, true));
        store.save("d", &TOKENS, &[7; 1_000]).expect("no fault");
        assert!(!there("d") && there("a"));
        let files = fs::read_dir(&dir.0).expect("there").count();
        assert_eq!(files, 2, "no parts are left");
    }
}
