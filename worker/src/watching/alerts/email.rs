//! An e-mail with the incidents that came meanwhile. TLS on the way to another machine is not an
//! option but required.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fazai_protocol::Secret;
use fazai_tools::Action;
use lettre::Message;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Failure, Record, past_gate};
use crate::config::{AlertSettings, Security, SmtpServer};
use crate::worker::Shared;

/// Incidents of one mail.
pub(super) const AT_ONCE_MAX: usize = 64;

/// From one mail to the next.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// The JSON of an incident is longer only with lines that nobody reads in a mail.
const DETAILS_BYTES_MAX: usize = 16 << 10;

/// All that a server may say, for one mail.
const ANSWERS_BYTES_MAX: usize = 64 << 10;

/// The longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 150;

pub(super) struct Email {
    from: Mailbox,
    to: Vec<Mailbox>,
    server: SmtpServer,
    password: Option<Secret>,
}

impl Email {
    pub(super) fn new(settings: &AlertSettings) -> Option<Self> {
        if settings.email.is_empty() {
            return None;
        }
        Some(Self {
            from: settings.email_from.clone()?,
            to: settings.email.clone(),
            server: settings.smtp.clone()?,
            password: settings.smtp_password.clone(),
        })
    }

    pub(super) async fn deliver(
        &self,
        shared: &Arc<Shared>,
        records: &[Arc<Record>],
    ) -> Result<(), Failure> {
        let message = self.message(records)?;
        let connect = Action::Network {
            host: self.server.host.clone(),
            port: self.server.port,
        };
        past_gate(shared, connect, self.send(&message)).await
    }

    fn message(&self, records: &[Arc<Record>]) -> Result<Message, Failure> {
        let mut builder = Message::builder().from(self.from.clone());
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let message = builder.subject(subject(records)).body(text(records));
        message.map_err(|fault| Failure::Refused(format!("{fault}; check alert_email in [watch]")))
    }

    async fn send(&self, message: &Message) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        if let (Some(user), Some(password)) = (&self.server.user, &self.password) {
            let credentials = Credentials::new(user.clone(), password.0.clone());
            let shown = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            shown.map_err(|fault| failure(&fault))?;
        }
        let sent = connection
            .send(message.envelope(), &message.formatted())
            .await;
        sent.map_err(|fault| failure(&fault))?;
        // The mail is theirs by now.
        let _ = connection.quit().await;
        Ok(())
    }

    #[cfg(feature = "tls")]
    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        use lettre::transport::smtp::client::TlsParameters;

        let server = &self.server;
        let hello = ClientId::default();
        let tls = || TlsParameters::new(server.host.clone()).map_err(|fault| failure(&fault));
        match server.security {
            Security::Plain => self.plain(&hello).await,
            Security::StartTls => {
                let mut connection = self.plain(&hello).await?;
                let begun = connection.starttls(tls()?, &hello).await;
                begun.map_err(|fault| failure(&fault))?;
                Ok(connection)
            }
            Security::Tls => {
                // Whoever calls limits its time, and its certificate says who it is.
                let place = (server.host.as_str(), server.port);
                let tls = Some(tls()?);
                let connected = AsyncSmtpConnection::connect_tokio1(place, None, &hello, tls, None);
                connected.await.map_err(|fault| failure(&fault))
            }
        }
    }

    /// The settings take no server that would need more.
    #[cfg(not(feature = "tls"))]
    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        debug_assert_eq!(self.server.security, Security::Plain);
        self.plain(&ClientId::default()).await
    }

    async fn plain(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, Failure> {
        let place = (self.server.host.as_str(), self.server.port);
        let stream = TcpStream::connect(place).await;
        let stream = stream.map_err(|fault| Failure::Away(format!("the mail server: {fault}")))?;
        let stream = Box::new(Bounded {
            stream,
            left: ANSWERS_BYTES_MAX,
        });
        let connected = AsyncSmtpConnection::connect_with_transport(stream, hello).await;
        connected.map_err(|fault| failure(&fault))
    }
}

/// `high bruteforce 203.0.113.9: block_ip 3600 s (and 2 more)`
fn subject(records: &[Arc<Record>]) -> String {
    let worst = records.iter().max_by_key(|record| record.severity);
    let line = worst.map(|record| record.line()).unwrap_or_default();
    let line: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(SUBJECT_CHARS_MAX)
        .collect();
    match records.len() {
        0 | 1 => format!("[fazai] {line}"),
        many => format!("[fazai] {line} (and {} more)", many - 1),
    }
}

fn text(records: &[Arc<Record>]) -> String {
    let mut lines: Vec<String> = records
        .iter()
        .map(|record| format!("{} #{} {}", record.time, record.id, record.line()))
        .collect();
    for record in records {
        let details = record.data(true);
        let details = serde_json::to_string_pretty(&details).unwrap_or_default();
        let end = details.floor_char_boundary(DETAILS_BYTES_MAX);
        lines.push(format!("\n{}", &details[..end]));
    }
    lines.push("\nfazai incidents show NUMBER has more.\n".to_owned());
    lines.join("\n")
}

/// A server that says no for good is not asked again.
fn failure(fault: &Error) -> Failure {
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(fault);
    while let Some(fault) = cause {
        let why = fault.to_string();
        // Some say what their cause says.
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = fault.source();
    }
    if fault.is_permanent() || fault.is_client() {
        return Failure::Refused(format!(
            "the mail server says: {text}; check alert_email and smtp in [watch]"
        ));
    }
    Failure::Away(format!("the mail server: {text}"))
}

/// A connection of which so much is read and no more: a server could send a line without an end.
#[derive(Debug)]
struct Bounded {
    stream: TcpStream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Err(io::Error::other("it says too much")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.left = this.left.saturating_sub(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
