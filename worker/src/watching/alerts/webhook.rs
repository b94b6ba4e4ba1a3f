//! Posting an incident to a server, which gets nothing else: no redirect is followed, no proxy of
//! the environment is used, and of its answer only the status is read.

use std::sync::Arc;
use std::time::Duration;

use fazai_protocol::Secret;
use fazai_tools::Action;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, redirect};
use url::Url;

use super::{Failure, Record, past_gate, text_of};
use crate::worker::Shared;

/// How long a connection is waited for.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

pub(super) struct Webhook {
    client: Client,
    url: Url,
    token: Option<Secret>,
}

impl Webhook {
    pub(super) fn new(url: Url, token: Option<Secret>) -> Result<Self, String> {
        let client = Client::builder()
            .user_agent(concat!("fazai/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_MAX)
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .build();
        let client = client.map_err(|fault| fault.to_string())?;
        Ok(Self { client, url, token })
    }

    pub(super) async fn deliver(
        &self,
        shared: &Arc<Shared>,
        record: &Record,
    ) -> Result<(), Failure> {
        let connect = Action::Network {
            host: self.url.host_str().unwrap_or_default().to_owned(),
            port: self.url.port_or_known_default().unwrap_or_default(),
        };
        past_gate(shared, connect, self.post(text_of(record))).await
    }

    async fn post(&self, body: String) -> Result<(), Failure> {
        let request = self.client.post(self.url.clone()).body(body);
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = match &self.token {
            Some(token) => request.bearer_auth(&token.0),
            None => request,
        };
        // The URL may have a secret in it.
        let sent = request.send().await.map_err(|fault| {
            let fault = fault.without_url();
            let cause = std::error::Error::source(&fault).map(ToString::to_string);
            Failure::Away(cause.unwrap_or_else(|| fault.to_string()))
        })?;
        judged(sent.status())
    }
}

/// Whether a status is a yes, and if not, whether it may become one.
fn judged(status: StatusCode) -> Result<(), Failure> {
    let told = format!("the server of the webhook answers {status}");
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Away(told)),
        _ if status.is_server_error() => Err(Failure::Away(told)),
        _ => Err(Failure::Refused(format!(
            "{told}; check webhook and its token in [watch]"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_wrong_is_not() {
        let judged = |code| judged(StatusCode::from_u16(code).expect("a status"));
        for good in [200, 202, 204] {
            assert_eq!(judged(good), Ok(()));
        }
        for away in [408, 429, 500, 503] {
            assert!(matches!(judged(away), Err(Failure::Away(_))), "{away}");
        }
        for wrong in [301, 307, 400, 401, 404] {
            assert!(matches!(judged(wrong), Err(Failure::Refused(_))), "{wrong}");
        }
    }
}
