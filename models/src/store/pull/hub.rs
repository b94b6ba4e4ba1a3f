//! What is asked of a model hub: what a file is, and its bytes.
//!
//! The bytes come through hf-hub. What a file is does not: hf-hub 1.0.0 follows the redirect to
//! the hub's content servers and then looks for the hub's headers in their answer, where the
//! commit is missing and the `ETag` is not the file's SHA-256; its listing leaves the SHA-256
//! out. So that one request is made here, the way that the hub's Python client makes it: the
//! redirect itself is the answer.

use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use futures_util::StreamExt;
use hf_hub::repository::download::HFByteStream;
use hf_hub::{HFClient, HFError};
use reqwest::header::{self, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::time::timeout;

use super::error::{PullError, clean};
use super::options::PullOptions;
use crate::store::Reference;

/// What a hub says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The commit that the revision is at.
    pub(crate) commit: String,
    /// The file's length.
    pub(crate) bytes: u64,
    /// The file's SHA-256, if the hub states one.
    pub(crate) sha256: Option<String>,
}

/// A failure, and whether another attempt makes sense.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) error: PullError,
    pub(crate) retry: Retry,
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    Soon,
    After(Duration),
}

impl Trouble {
    fn never(error: PullError) -> Self {
        let retry = Retry::Never;
        Self { error, retry }
    }

    pub(crate) fn network(why: impl Into<String>) -> Self {
        Self {
            error: PullError::Network { why: why.into() },
            retry: Retry::Soon,
        }
    }

    /// The hub has no bytes at the place that was asked for.
    pub(crate) fn is_past_the_end(&self) -> bool {
        matches!(self.error, PullError::Hub { status: 416, .. })
    }
}

/// A connection to a hub.
pub(crate) struct Hub {
    plain: Client,
    client: HFClient,
    endpoint: Url,
    token: Option<String>,
    stall: Duration,
}

/// Redirects within the hub, for a repository that was renamed.
const REDIRECTS_MAX: u32 = 5;

impl Hub {
    pub(crate) fn new(options: &PullOptions) -> Result<Self, PullError> {
        let refuse = |why: String| PullError::Endpoint {
            endpoint: options.endpoint.clone(),
            why,
        };
        let endpoint = Url::parse(&options.endpoint).map_err(|error| refuse(error.to_string()))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host_str().is_none() {
            return Err(refuse("it is no http or https address".into()));
        }
        let build = |policy: Policy| {
            let client = Client::builder()
                .user_agent(concat!("fazai/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(options.stall)
                .redirect(policy);
            // A proxy has another loopback than we do.
            let client = if is_loopback(&endpoint) {
                client.no_proxy()
            } else {
                client
            };
            client.build().map_err(|error| refuse(cause(&error)))
        };
        // hf-hub retries by itself, with delays of its own; one place for that is enough.
        let builder = HFClient::builder()
            .endpoint(options.endpoint.as_str())
            .client(build(Policy::default())?)
            .cache_enabled(false)
            .retry_max_attempts(0);
        let token = options
            .token
            .as_ref()
            .map(|token| token.expose().to_owned());
        let builder = match &token {
            Some(token) => builder.token(token.as_str()),
            // It looks for one by itself then, where `PullOptions::from_env` has found none.
            None => builder,
        };
        Ok(Self {
            plain: build(Policy::none())?,
            client: builder.build().map_err(|error| refuse(error.to_string()))?,
            endpoint,
            token,
            stall: options.stall,
        })
    }

    /// Asks what a file is at a revision.
    pub(crate) async fn describe(
        &self,
        reference: &Reference,
        revision: &str,
        file: &str,
    ) -> Result<Remote, Trouble> {
        let place = format!(
            "{}/{}/{}/resolve/{}/{file}",
            self.endpoint.as_str().trim_end_matches('/'),
            reference.owner(),
            reference.repository(),
            revision.replace('/', "%2F"),
        );
        let mut url = Url::parse(&place).map_err(|error| self.malformed(error.to_string()))?;
        for _ in 0..REDIRECTS_MAX {
            let answer = self.head(url.clone()).await?;
            if let Some(next) = within_hub(&url, answer.headers(), answer.status()) {
                url = next;
                continue;
            }
            let status = answer.status();
            let headers = answer.headers();
            if status.is_client_error() || status.is_server_error() {
                let refusal = Refusal::of(status, headers);
                return Err(refusal.trouble(reference, self.token.is_some(), file));
            }
            return self.remote(status, headers);
        }
        Err(self.malformed("it redirects in a circle"))
    }

    async fn head(&self, url: Url) -> Result<reqwest::Response, Trouble> {
        let request = self.plain.head(url);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        match timeout(self.stall, request.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Trouble::network(cause(&error.without_url()))),
            Err(_) => Err(self.stalled()),
        }
    }

    fn remote(&self, status: StatusCode, headers: &HeaderMap) -> Result<Remote, Trouble> {
        let commit = text(headers, "x-repo-commit").filter(|commit| is_hex(commit, 40));
        let Some(commit) = commit else {
            return Err(self.malformed(match redirect_host(headers) {
                Some(host) => format!("it redirects to {host}; set HF_ENDPOINT to that"),
                None => "its answer has no X-Repo-Commit header".into(),
            }));
        };
        // Only an answer that is not a redirect speaks of the file in its plain headers.
        let direct = |name| text(headers, name).filter(|_| status.is_success());
        let bytes = text(headers, "x-linked-size").or_else(|| direct("content-length"));
        let Some(bytes) = bytes.and_then(|bytes| bytes.parse().ok()) else {
            return Err(self.malformed("its answer has no length"));
        };
        let tag = text(headers, "x-linked-etag").or_else(|| direct("etag"));
        Ok(Remote {
            commit,
            bytes,
            sha256: tag.and_then(|tag| sum_of(&tag)),
        })
    }

    /// Asks for a file's bytes from a place on. With the stream comes the length that the
    /// answer announces.
    pub(crate) async fn open(
        &self,
        reference: &Reference,
        commit: &str,
        file: &str,
        range: Range<u64>,
    ) -> Result<(Option<u64>, HFByteStream), Trouble> {
        let repository = self.client.model(reference.owner(), reference.repository());
        let request = repository
            .download_file_stream()
            .filename(file)
            .revision(commit)
            .range(range)
            .send();
        match timeout(self.stall, request).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err(self.trouble(error, reference, file)),
            Err(_) => Err(self.stalled()),
        }
    }

    /// The next piece of a file, or none at its end.
    pub(crate) async fn next(
        &self,
        stream: &mut HFByteStream,
        reference: &Reference,
        file: &str,
    ) -> Result<Option<impl AsRef<[u8]> + Send + use<>>, Trouble> {
        match timeout(self.stall, stream.next()).await {
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(error))) => Err(self.trouble(error, reference, file)),
            Ok(None) => Ok(None),
            Err(_) => Err(self.stalled()),
        }
    }

    /// What a failed request of hf-hub means.
    fn trouble(&self, error: HFError, reference: &Reference, file: &str) -> Trouble {
        let context = match error {
            HFError::Request { source, .. } if source.is_builder() || source.is_redirect() => {
                return self.malformed(cause(&source.without_url()));
            }
            HFError::Request { source, .. } => {
                return Trouble::network(cause(&source.without_url()));
            }
            HFError::Xet { source, .. } => return Trouble::network(source.to_string()),
            HFError::RateLimited { retry_after, .. } => {
                return Refusal::too_many(retry_after).trouble(
                    reference,
                    self.token.is_some(),
                    file,
                );
            }
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RepoNotFound {
                context: Some(context),
                ..
            }
            | HFError::RevisionNotFound {
                context: Some(context),
                ..
            }
            | HFError::EntryNotFound {
                context: Some(context),
                ..
            } => context,
            other => return self.malformed(other.to_string()),
        };
        let refusal = Refusal {
            status: context.status.as_u16(),
            code: context.error_code,
            message: context.server_message.as_deref().and_then(clean),
            retry_after: None,
        };
        refusal.trouble(reference, self.token.is_some(), file)
    }

    fn stalled(&self) -> Trouble {
        Trouble::network(format!("nothing came for {:?}", self.stall))
    }

    fn malformed(&self, what: impl Into<String>) -> Trouble {
        Trouble::never(PullError::Malformed {
            endpoint: self.endpoint.to_string(),
            what: what.into(),
        })
    }
}

/// A hub's answer that is an error.
#[derive(Debug, Default)]
struct Refusal {
    status: u16,
    /// The hub's own word for it.
    code: Option<String>,
    message: Option<String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let seconds = text(headers, "retry-after").and_then(|wait| wait.parse().ok());
        Self {
            status: status.as_u16(),
            code: text(headers, "x-error-code"),
            message: text(headers, "x-error-message").as_deref().and_then(clean),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    fn too_many(retry_after: Option<Duration>) -> Self {
        Self {
            status: 429,
            retry_after,
            ..Self::default()
        }
    }

    fn trouble(self, reference: &Reference, token: bool, file: &str) -> Trouble {
        let repository = format!("{}/{}", reference.owner(), reference.repository());
        let message = self.message;
        let code = self.code.unwrap_or_default();
        let error = match (self.status, code.as_str()) {
            (401 | 403, "GatedRepo") => PullError::Gated {
                repository,
                message,
            },
            (status @ (401 | 403), _) => PullError::Denied {
                repository,
                status,
                token,
                message,
            },
            (404, code) => PullError::NotFound {
                what: match code {
                    "RevisionNotFound" => format!(
                        "revision {} in {repository}",
                        reference.revision().unwrap_or("main")
                    ),
                    "RepoNotFound" => format!("repository {repository}"),
                    _ => format!("file {file} in {repository}"),
                },
                message,
            },
            (429, _) => {
                return Trouble {
                    error: PullError::RateLimited {
                        retry_after: self.retry_after,
                    },
                    retry: self.retry_after.map_or(Retry::Soon, Retry::After),
                };
            }
            (status, _) => PullError::Hub { status, message },
        };
        let transient = self.status == 408 || self.status >= 500;
        Trouble {
            error,
            retry: if transient { Retry::Soon } else { Retry::Never },
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The SHA-256 in an entity tag. Files outside the large-file store have a shorter, other sum.
fn sum_of(tag: &str) -> Option<String> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    is_hex(tag, 64).then(|| tag.to_ascii_lowercase())
}

/// Where a redirect leads, if that is the same server. Elsewhere the token must not go, and
/// there is no need: who redirects to a content server has said all that is needed.
fn within_hub(from: &Url, headers: &HeaderMap, status: StatusCode) -> Option<Url> {
    let location = text(headers, header::LOCATION.as_str()).filter(|_| status.is_redirection())?;
    let next = from.join(&location).ok()?;
    (next.origin() == from.origin()).then_some(next)
}

fn redirect_host(headers: &HeaderMap) -> Option<String> {
    let location = Url::parse(&text(headers, header::LOCATION.as_str())?).ok()?;
    let host = location.host_str()?;
    Some(format!("{}://{host}", location.scheme()))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The innermost reason of an error; the outer ones only say that there is one.
fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    clean(&innermost.to_string()).unwrap_or_else(|| "no reason given".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sha256_counts_as_a_sum() {
        let sum = "AB".repeat(32);
        assert_eq!(sum_of(&format!("\"{sum}\"")), Some("ab".repeat(32)));
        assert_eq!(sum_of(&format!("W/\"{sum}\"")), Some("ab".repeat(32)));
        assert_eq!(sum_of(&"a".repeat(40)), None);
        assert_eq!(sum_of(&"x".repeat(64)), None);
        assert_eq!(sum_of(""), None);
    }

    #[test]
    fn a_redirect_is_followed_on_the_same_server_only() {
        let check = |location: &str, expected: Option<&str>| {
            let from = Url::parse("https://hub.example/a/b").expect("a URL");
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().expect("a header"));
            let next = within_hub(&from, &headers, StatusCode::TEMPORARY_REDIRECT);
            assert_eq!(next.map(String::from), expected.map(str::to_owned));
            assert_eq!(within_hub(&from, &headers, StatusCode::OK), None);
        };
        check("/c/d", Some("https://hub.example/c/d"));
        check("https://hub.example/c", Some("https://hub.example/c"));
        check("http://hub.example/c", None);
        check("https://hub.example:444/c", None);
        check("//cdn.example/c", None);
        check("https://cdn.example/c", None);
    }

    #[test]
    fn loopback_addresses_are_told_from_others() {
        let check = |url: &str, expected: bool| {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(is_loopback(&url), expected, "{url}");
        };
        check("http://127.0.0.1:80", true);
        check("http://localhost/", true);
        check("http://[::1]:1/", true);
        check("https://localhost.example/", false);
        check("https://10.0.0.1/", false);
    }
}
