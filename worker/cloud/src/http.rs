//! One connection to a provider: where it goes and with which key.
//!
//! A key goes to the base URL's host and nowhere else: no redirect is followed, no proxy of the
//! environment is used, and nothing is sent again by the library.

use std::time::{Duration, SystemTime};

use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use url::Url;

use crate::error::{CloudError, Failure, FailureKind};
use crate::keys::Key;
use crate::provider::{Auth, Framing, Prepared, complaint};
use crate::settings::ProviderSettings;

/// How much of an error page is read, and for how long.
const ERROR_BYTES_MAX: usize = 16 << 10;
const ERROR_TIME_MAX: Duration = Duration::from_secs(2);
/// How much of it is told, in characters.
const ERROR_CHARS_MAX: usize = 300;
/// A provider that asks for a longer pause is not believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The connections to one provider.
#[derive(Debug)]
pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new(settings: &ProviderSettings) -> Result<Self, CloudError> {
        let client = Client::builder()
            .user_agent(concat!("fazai/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(settings.times.connect_ms))
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .build();
        client
            .map(Self)
            .map_err(|fault| CloudError::Settings(fault.to_string()))
    }

    /// Sends a request, and answers with a stream of the right type.
    pub(crate) async fn send(
        &self,
        settings: &ProviderSettings,
        prepared: Prepared,
        key: Option<&Key>,
    ) -> Result<Response, Failure> {
        let fail = |kind, why: String| Failure::new(&settings.name, kind, why);
        let mut headers = key_header(settings, prepared.auth, key)?;
        for (name, value) in &prepared.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(*name, value);
            }
        }
        let request = self
            .0
            .post(prepared.url)
            .headers(headers)
            .body(prepared.body);
        let sent = request.send().await;
        let response = sent.map_err(|fault| fail(kind_of(&fault), told(&fault, settings)))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(refused(response, settings, key).await);
        }
        let wanted: &[&str] = match settings.kind.framing() {
            Framing::Sse => &["text/event-stream"],
            Framing::Lines => &["application/x-ndjson", "application/json"],
        };
        of_type(response, settings, wanted)
    }

    /// Gets a whole answer of JSON.
    pub(crate) async fn get(
        &self,
        settings: &ProviderSettings,
        url: Url,
        key: Option<&Key>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Failure> {
        let headers = key_header(settings, Auth::Bearer, key)?;
        let request = self.0.get(url).headers(headers);
        whole_json(request, settings, key, bytes_max).await
    }

    /// Posts a body of JSON and gets a whole answer of JSON.
    pub(crate) async fn post_json(
        &self,
        settings: &ProviderSettings,
        url: Url,
        body: &Value,
        key: Option<&Key>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Failure> {
        let headers = key_header(settings, Auth::Bearer, key)?;
        let request = self.0.post(url).headers(headers);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        whole_json(request, settings, key, bytes_max).await
    }
}

/// The answer to a request that streams nothing.
async fn whole_json(
    request: RequestBuilder,
    settings: &ProviderSettings,
    key: Option<&Key>,
    bytes_max: usize,
) -> Result<Vec<u8>, Failure> {
    let fail = |kind, why: String| Failure::new(&settings.name, kind, why);
    let sent = request.send().await;
    let response = sent.map_err(|fault| fail(kind_of(&fault), told(&fault, settings)))?;
    if response.status() != StatusCode::OK {
        return Err(refused(response, settings, key).await);
    }
    let mut response = of_type(response, settings, &["application/json"])?;
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => {
                let why = format!("its answer is longer than {bytes_max} bytes");
                return Err(fail(FailureKind::TooLarge, why));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(fault) => return Err(fail(FailureKind::Cut, told(&fault, settings))),
        }
    }
}

/// The key, where the server wants it.
fn key_header(
    settings: &ProviderSettings,
    auth: Auth,
    key: Option<&Key>,
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let Some(key) = key else { return Ok(headers) };
    let (name, text) = match auth {
        Auth::Bearer => (AUTHORIZATION, format!("Bearer {}", key.expose())),
        Auth::Header(name) => (HeaderName::from_static(name), key.expose().to_owned()),
    };
    let text = zeroize::Zeroizing::new(text);
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        let why = "the key can't be a header";
        Failure::new(&settings.name, FailureKind::NoKey, why)
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

/// The response, if it is of a type that can be read.
fn of_type(
    response: Response,
    settings: &ProviderSettings,
    wanted: &[&str],
) -> Result<Response, Failure> {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("nothing");
    let essence = kind.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    if wanted.contains(&essence.as_str()) {
        return Ok(response);
    }
    let why = format!("it answered with {essence} and not with {}", wanted[0]);
    Err(Failure::new(&settings.name, FailureKind::Malformed, why))
}

fn kind_of(fault: &reqwest::Error) -> FailureKind {
    match (fault.is_connect(), fault.is_timeout()) {
        (_, true) => FailureKind::SlowConnect,
        (true, false) => FailureKind::Unreachable,
        // The connection was there and ended before there was an answer.
        (false, false) => FailureKind::Cut,
    }
}

/// An error with its causes; the library's own text says only that there was one.
fn told(fault: &reqwest::Error, settings: &ProviderSettings) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(fault);
    while let Some(fault) = cause {
        text = fault.to_string();
        cause = fault.source();
    }
    let host = settings.base_url.host_str().unwrap_or_default();
    let port = settings
        .base_url
        .port_or_known_default()
        .unwrap_or_default();
    if fault.is_timeout() {
        let most = settings.times.connect_ms;
        return format!("no connection to {host} port {port} within {most} ms");
    }
    format!("{host} port {port}: {text}")
}

/// A status that is no success.
async fn refused(response: Response, settings: &ProviderSettings, key: Option<&Key>) -> Failure {
    let status = response.status();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let kind = match status.as_u16() {
        300..=399 => FailureKind::Redirected,
        401 | 403 => FailureKind::Unauthorized,
        404 => FailureKind::NotFound,
        413 => FailureKind::TooLong,
        429 => FailureKind::RateLimited,
        408 | 500.. => FailureKind::Unavailable,
        _ => FailureKind::Rejected,
    };
    let words = match kind {
        FailureKind::Redirected => "it leads elsewhere; set base_url to where it is now".to_owned(),
        _ => words(response, key).await,
    };
    let mut message = format!("it answered {status}");
    if !words.is_empty() {
        message = format!("{message}: {words}");
    }
    Failure {
        retry_after,
        ..Failure::new(&settings.name, kind, message)
    }
}

/// What an error page says, without the key.
async fn words(mut response: Response, key: Option<&Key>) -> String {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < ERROR_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // What came until now is enough.
                Ok(None) | Err(_) => break,
            }
        }
    };
    // Whoever is slow here is told about without words.
    let _ = tokio::time::timeout(ERROR_TIME_MAX, reading).await;
    body.truncate(ERROR_BYTES_MAX);
    let text = String::from_utf8_lossy(&body);
    let text = match serde_json::from_str::<Value>(&text) {
        Ok(value) => complaint(&value).unwrap_or_else(|| text.into_owned()),
        Err(_) if text.trim_start().starts_with('<') => "an HTML page".to_owned(),
        Err(_) => text.into_owned(),
    };
    clean(&text, key)
}

/// Words of a provider for a person: short, on one line, without the key.
pub(crate) fn clean(text: &str, key: Option<&Key>) -> String {
    let text = match key {
        Some(key) => text.replace(key.expose(), "[KEY]"),
        None => text.to_owned(),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let visible = line.chars().filter(|c| !c.is_control());
    visible.take(ERROR_CHARS_MAX).collect()
}

/// When to come back: in seconds, in milliseconds, or at a time.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let millis = header(HeaderName::from_static("retry-after-ms"));
    let millis = millis.and_then(|text| text.trim().parse().ok());
    let after = millis.map(Duration::from_millis).or_else(|| {
        let text = header(RETRY_AFTER)?.trim();
        let seconds = text.parse().ok().map(Duration::from_secs);
        seconds.or_else(|| {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            let at = SystemTime::from(at);
            Some(at.duration_since(now).unwrap_or_default())
        })
    });
    after.map(|after| after.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_retry_after_is_understood() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (name, value, expected) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(7_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "999999999", Some(3_600_000)),
            ("retry-after", "soon", None),
            ("retry-after", "-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let after = retry_after(&headers, now).map(|after| after.as_millis());
            assert_eq!(after, expected, "{name}: {value}");
        }
    }

    #[test]
    fn words_are_short_and_have_no_key() {
        let key = Key::new("sk-secret").unwrap();
        assert_eq!(
            clean("bad  key\n sk-secret\u{7}!", Some(&key)),
            "bad key [KEY]!"
        );
        assert_eq!(clean(&"x".repeat(9999), None).len(), ERROR_CHARS_MAX);
    }
}
