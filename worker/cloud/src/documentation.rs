//! Documentation of programs and libraries, looked up at context7 or a server that answers as its
//! search does (`GET BASE/v3/search?query=...&type=json`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::endpoint::Provider;
use crate::error::{CloudError, Failure, FailureKind};
use crate::keys::{Key, KeySource};
use crate::provider::Kind;
use crate::redact::{Counts, Redactor, Rules};
use crate::request::{Message, Request, Role};
use crate::settings::ProviderSettings;

/// Its name in the policy, the audit and failures.
pub const NAME: &str = "documentation";

/// The longest question, in bytes; a longer one is no question for a search.
const QUERY_BYTES_MAX: usize = 2 << 10;
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// An answer that takes longer is none.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Passages that are taken of one answer.
const PASSAGES_MAX: usize = 20;
/// The longest passage and the longest title, in characters.
const TEXT_CHARS_MAX: usize = 4_000;
const TITLE_CHARS_MAX: usize = 200;

/// Where documentation is looked up.
pub struct Documentation {
    server: Provider,
    redactor: Redactor,
}

/// A question without its secrets.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
    /// What was taken out, by kind.
    pub redacted: Counts,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// What it is about.
    pub title: String,
    /// What it says, code included.
    pub text: String,
    /// Where it is from: a URL or the name of a library.
    pub source: String,
}

impl Documentation {
    /// A place with these keys.
    ///
    /// # Errors
    /// [`CloudError`] if the address or a rule can't be used.
    pub fn new(base_url: &str, keys: Vec<KeySource>, redact: &Rules) -> Result<Self, CloudError> {
        // Of a provider it has the address, the keys, the times and the breaker.
        let kind = Kind::OpenAiCompatible;
        let mut settings = ProviderSettings::new(NAME, kind, NAME, Some(base_url))?;
        settings.keys = keys;
        settings.check()?;
        Ok(Self {
            server: Provider::new(&settings)?,
            redactor: Redactor::new(redact)?,
        })
    }

    /// The question as it would be sent, for whoever has to agree to that.
    #[must_use]
    pub fn query(&self, text: &str) -> Query {
        let message = Message::new(Role::User, text);
        let request = Request {
            messages: vec![message],
            ..Request::default()
        };
        let (mut clean, marks) = self.redactor.request(&request);
        let mut text = clean.messages.pop().map(|m| m.content).unwrap_or_default();
        // Not before: half a key does not look like one.
        text.truncate(text.floor_char_boundary(QUERY_BYTES_MAX));
        Query {
            text,
            redacted: marks.counts().clone(),
        }
    }

    /// Looks it up; nothing found is no failure.
    ///
    /// # Errors
    /// [`Failure`] if the server can't be asked or gives no answer that can be read.
    pub async fn search(&self, query: &Query) -> Result<Vec<Passage>, Failure> {
        let asked = self.server.once(TIME_MAX, |key| self.get(query, key));
        asked.await
    }

    async fn get(&self, query: &Query, key: Option<Key>) -> Result<Vec<Passage>, Failure> {
        let settings = &self.server.settings;
        let mut url: Url = settings.base_url.clone();
        let path = format!("{}/v3/search", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair("query", &query.text)
            .append_pair("type", "json");
        let got = (self.server.http).get(settings, url, key.as_ref(), ANSWER_BYTES_MAX);
        let body = match got.await {
            Ok(body) => body,
            // The server's word for an empty answer.
            Err(failure) if failure.kind == FailureKind::NotFound => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        let answer: Answer = serde_json::from_slice(&body).map_err(|fault| {
            let why = format!("its answer can't be read: {fault}");
            Failure::new(NAME, FailureKind::Malformed, why)
        })?;
        Ok(answer.passages())
    }
}

/// The answer as the server writes it; what is not named here is not needed.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    code_snippets: Vec<CodeSnippet>,
    info_snippets: Vec<InfoSnippet>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CodeSnippet {
    code_title: String,
    code_description: String,
    code_id: String,
    library_id: String,
    code_list: Vec<Code>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Code {
    code: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct InfoSnippet {
    page_id: String,
    breadcrumb: String,
    content: String,
    library_id: String,
}

impl Answer {
    /// Both kinds in turns, the best of each first.
    fn passages(self) -> Vec<Passage> {
        let code = self.code_snippets.into_iter().map(|snippet| {
            let code = snippet.code_list.into_iter().map(|code| code.code);
            let text: Vec<String> = std::iter::once(snippet.code_description)
                .chain(code)
                .filter(|part| !part.is_empty())
                .collect();
            let sources = [&*snippet.code_id, &*snippet.library_id];
            passage(&snippet.code_title, &text.join("\n"), sources)
        });
        let info = self.info_snippets.into_iter().map(|snippet| {
            let sources = [&*snippet.page_id, &*snippet.library_id];
            passage(&snippet.breadcrumb, &snippet.content, sources)
        });
        let (mut code, mut info) = (code.fuse(), info.fuse());
        let turns = std::iter::from_fn(|| {
            let both = [code.next(), info.next()];
            both.iter().any(Option::is_some).then_some(both)
        });
        let all = turns.flatten().flatten();
        all.filter(|one| !one.text.is_empty())
            .take(PASSAGES_MAX)
            .collect()
    }
}

fn passage(title: &str, text: &str, sources: [&str; 2]) -> Passage {
    let source = sources.into_iter().find(|source| !source.is_empty());
    Passage {
        title: one_line(title),
        text: text.trim().chars().take(TEXT_CHARS_MAX).collect(),
        source: source.map(one_line).unwrap_or_default(),
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let visible = line.chars().filter(|c| !c.is_control());
    visible.take(TITLE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_a_query() {
        let place = Documentation::new("http://127.0.0.1:1", vec![], &Rules::default()).unwrap();
        let query = place.query("why does anna@example.org get 550?");
        assert!(!query.text.contains("anna"), "{}", query.text);
        assert_eq!(query.redacted.values().sum::<usize>(), 1);
        let cut = "x ".repeat(QUERY_BYTES_MAX / 2 - 4) + "sk-0123456789abcdef0123456789";
        assert!(!place.query(&cut).text.contains("sk-"));
        assert!(place.query(&"é".repeat(5_000)).text.len() <= QUERY_BYTES_MAX);
    }

    #[test]
    fn plain_http_to_others_is_refused() {
        let place = Documentation::new("http://192.0.2.1/api", vec![], &Rules::default());
        assert!(place.is_err());
    }

    #[test]
    fn what_was_found_is_short_and_in_turns() {
        let long = "x".repeat(9_999);
        let answer = serde_json::json!({
            "codeSnippets": [
                { "codeTitle": "a\n\u{1b}[31m b", "codeDescription": "how", "codeId": "https://x.example/a",
                  "codeList": [{ "language": "sh", "code": "ls" }, { "code": "df" }] },
                { "codeTitle": "nothing" },
            ],
            "infoSnippets": [{ "breadcrumb": "c", "content": long, "libraryId": "/x/y", "more": 1 }],
        });
        let answer: Answer = serde_json::from_value(answer).unwrap();
        let passages = answer.passages();
        assert_eq!(passages.len(), 2);
        assert_eq!(passages[0].title, "a [31m b");
        assert_eq!(passages[0].text, "how\nls\ndf");
        assert_eq!(passages[0].source, "https://x.example/a");
        assert_eq!(passages[1].source, "/x/y");
        assert_eq!(passages[1].text.len(), TEXT_CHARS_MAX);
    }
}
