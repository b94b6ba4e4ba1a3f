//! How to download, and what the environment says about it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A hub's access token. It never appears in what is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a token; white space around it does not count. None if nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// How to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullOptions {
    /// The hub's address.
    pub endpoint: String,
    /// Who asks.
    pub token: Option<Token>,
    /// Refuse to connect at all.
    pub offline: bool,
    /// A connection on which nothing comes for so long is given up.
    pub stall: Duration,
    /// How often a failed connection is tried again, before it has brought another MiB.
    pub retries_max: u32,
    /// The wait before the first of these; it doubles each time, up to 30 s.
    pub backoff: Duration,
    /// What to take for the free space, instead of asking the system.
    pub free_bytes: Option<u64>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            endpoint: "https://huggingface.co".into(),
            token: None,
            offline: false,
            stall: Duration::from_secs(30),
            retries_max: 8,
            backoff: Duration::from_millis(500),
            free_bytes: None,
        }
    }
}

impl PullOptions {
    /// The defaults, with what the environment says: `HF_ENDPOINT`, `HF_HUB_OFFLINE`, and the
    /// token as the hub's own tools find it (`HF_TOKEN`, `HF_TOKEN_PATH`, `token` below
    /// `HF_HOME`).
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let defaults = Self::default();
        let offline = variable("HF_HUB_OFFLINE").unwrap_or_default();
        Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or(defaults.endpoint),
            token: token(variable),
            offline: matches!(
                offline.to_ascii_lowercase().as_str(),
                "1" | "on" | "yes" | "true"
            ),
            ..defaults
        }
    }
}

fn token(variable: &dyn Fn(&str) -> Option<String>) -> Option<Token> {
    if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some() {
        return None;
    }
    let from_file = |path: PathBuf| Token::new(&fs::read_to_string(path).ok()?);
    let home = || {
        let cache = |cache: String| Path::new(&cache).join("huggingface");
        let own = |home: String| Path::new(&home).join(".cache/huggingface");
        variable("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| variable("XDG_CACHE_HOME").map(cache))
            .or_else(|| variable("HOME").map(own))
    };
    variable("HF_TOKEN")
        .and_then(|token| Token::new(&token))
        .or_else(|| from_file(variable("HF_TOKEN_PATH")?.into()))
        .or_else(|| from_file(home()?.join("token")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> PullOptions {
        PullOptions::from_variables(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn the_environment_is_read_as_the_hubs_own_tools_read_it() {
        assert_eq!(from(&[]), PullOptions::default());
        let options = from(&[
            ("HF_ENDPOINT", "http://127.0.0.1:1"),
            ("HF_TOKEN", " hf_x\n"),
            ("HF_HUB_OFFLINE", "True"),
        ]);
        assert_eq!(options.endpoint, "http://127.0.0.1:1");
        assert_eq!(options.token, Token::new("hf_x"));
        assert!(options.offline);
        assert!(!from(&[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn a_token_is_found_in_files_unless_that_is_switched_off() {
        let folder = std::env::temp_dir().join(format!("fazai-token-{}", std::process::id()));
        fs::create_dir_all(folder.join("huggingface")).expect("a directory");
        fs::write(folder.join("huggingface/token"), "hf_cache\n").expect("written");
        fs::write(folder.join("other"), "hf_other\n").expect("written");
        let cache = folder.to_str().expect("plain");
        let other = format!("{cache}/other");
        let token = |variables: &[(&str, &str)]| from(variables).token;
        assert_eq!(token(&[("XDG_CACHE_HOME", cache)]), Token::new("hf_cache"));
        let both = [("XDG_CACHE_HOME", cache), ("HF_TOKEN_PATH", &other)];
        assert_eq!(token(&both), Token::new("hf_other"));
        let off = [("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"), ("HF_TOKEN", "x")];
        assert_eq!(token(&off), None);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_token_is_never_printed() {
        let options = from(&[("HF_TOKEN", "hf_secret")]);
        assert!(!format!("{options:?}").contains("hf_secret"));
    }
}
