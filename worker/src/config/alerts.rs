//! The keys of `[watch]` that say who is told of incidents outside of the worker.

use std::net::SocketAddr;
use std::path::PathBuf;

use fazai_cloud::settings::is_loopback;
use fazai_protocol::Secret;
use fazai_watch::Severity;
use lettre::message::Mailbox;
use url::{Host, Url};

use super::values;

/// Who is told of incidents outside of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertSettings {
    /// The least severity that is told.
    pub min_severity: Severity,
    /// Where the judged incident is posted.
    pub webhook: Option<Url>,
    /// What the server there wants to be shown.
    pub webhook_token: Option<Secret>,
    /// A program that reads the judged incident; empty: none.
    pub command: Vec<String>,
    /// A tool of the toolbox that is given it.
    pub tool: Option<String>,
    /// A syslog that is told.
    pub syslog: Option<SyslogPlace>,
    /// Who gets an e-mail.
    pub email: Vec<Mailbox>,
    /// From whom.
    pub email_from: Option<Mailbox>,
    /// The server that takes it.
    pub smtp: Option<SmtpServer>,
    /// The password of the account there.
    pub smtp_password: Option<Secret>,
}

/// Where a syslog listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogPlace {
    /// A Unix socket of datagrams, such as `/dev/log`.
    Socket(PathBuf),
    /// An address, by UDP.
    Udp(SocketAddr),
}

/// A server that takes e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpServer {
    /// How it is spoken to.
    pub security: Security,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The account.
    pub user: Option<String>,
}

/// Whether others on the way can read along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS before anything that matters.
    StartTls,
    /// None: only for this machine.
    Plain,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            min_severity: Severity::Medium,
            webhook: None,
            webhook_token: None,
            command: Vec::new(),
            tool: None,
            syslog: None,
            email: Vec::new(),
            email_from: None,
            smtp: None,
            smtp_password: None,
        }
    }
}

impl AlertSettings {
    /// What no single key has wrong.
    pub(super) fn fault(&self) -> Option<String> {
        let fault = if !self.email.is_empty() && (self.smtp.is_none() || self.email_from.is_none())
        {
            "alert_email needs alert_email_from and smtp beside it"
        } else if self.webhook_token.is_some() && self.webhook.is_none() {
            "webhook_token_file needs webhook beside it"
        } else if self.smtp_password.is_some()
            && self.smtp.as_ref().is_none_or(|smtp| smtp.user.is_none())
        {
            "smtp_password_file needs an account in smtp, such as smtp://USER@mail.example.org"
        } else {
            return None;
        };
        Some(format!("[watch] {fault}"))
    }
}

fn with_tls(wanted: &str) -> Result<(), String> {
    if cfg!(feature = "tls") {
        Ok(())
    } else {
        Err(format!("this program was built without TLS; {wanted}"))
    }
}

pub(super) fn webhook(text: &str) -> Result<Option<Url>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wanted = || "https://... is needed, or http:// on this machine".to_owned();
    let url = Url::parse(text).map_err(|_| wanted())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no password in it: name a file in webhook_token_file".to_owned());
    }
    match url.scheme() {
        "https" => with_tls("build it with the feature `tls`").map(|()| Some(url)),
        "http" if is_loopback(&url) => Ok(Some(url)),
        _ => Err(wanted()),
    }
}

/// What stands behind the host is often a secret.
pub(super) fn show_webhook(url: Option<&Url>) -> String {
    url.map_or_else(String::new, |url| {
        let origin = url.origin().ascii_serialization();
        if url.path() == "/" && url.query().is_none() {
            origin
        } else {
            format!("{origin}/...")
        }
    })
}

pub(super) fn syslog(text: &str) -> Result<Option<SyslogPlace>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(address) = text.parse() {
        return Ok(Some(SyslogPlace::Udp(address)));
    }
    let path = values::path(text).map_err(|_| {
        "the path of a socket, such as /dev/log, or an ADDRESS:PORT of UDP is needed".to_owned()
    })?;
    Ok(Some(SyslogPlace::Socket(path)))
}

pub(super) fn show_syslog(place: Option<&SyslogPlace>) -> String {
    match place {
        None => String::new(),
        Some(SyslogPlace::Socket(path)) => path.display().to_string(),
        Some(SyslogPlace::Udp(address)) => address.to_string(),
    }
}

pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    let wanted = |_| "an address such as root@example.org is needed".to_owned();
    text.parse().map_err(wanted)
}

pub(super) fn mailboxes(text: &str) -> Result<Vec<Mailbox>, String> {
    values::parts(text).map(mailbox).collect()
}

pub(super) fn smtp(text: &str) -> Result<Option<SmtpServer>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wanted = "smtp://HOST (STARTTLS; plain on this machine) or smtps://HOST is needed, with \
                  USER@ before the host and :PORT behind it if need be";
    // Another scheme, so that hosts are read as those of the web are.
    let (scheme, rest) = text.split_once("://").ok_or(wanted)?;
    let url = Url::parse(&format!("https://{rest}")).map_err(|_| wanted)?;
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        None => return Err(wanted.to_owned()),
    };
    if url.password().is_some() {
        return Err("no password in it: name a file in smtp_password_file".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wanted.to_owned());
    }
    let (security, usual) = match scheme {
        "smtps" => (Security::Tls, 465),
        "smtp" if is_loopback(&url) => (Security::Plain, 25),
        "smtp" => (Security::StartTls, 587),
        _ => return Err(wanted.to_owned()),
    };
    if security != Security::Plain {
        with_tls("use a mail server on this machine, smtp://localhost")?;
    }
    // The port of https is none that was written, and the parser drops it.
    let written = rest.trim_end_matches('/').ends_with(":443").then_some(443);
    let user = url.username().replace("%40", "@");
    Ok(Some(SmtpServer {
        security,
        host,
        port: url.port().or(written).unwrap_or(usual),
        user: (!user.is_empty()).then_some(user),
    }))
}

pub(super) fn show_smtp(server: Option<&SmtpServer>) -> String {
    server.map_or_else(String::new, |server| {
        let scheme = match server.security {
            Security::Tls => "smtps",
            Security::StartTls | Security::Plain => "smtp",
        };
        let user = server.user.as_ref();
        let user = user.map_or_else(String::new, |user| format!("{}@", user.replace('@', "%40")));
        let host = match server.host.contains(':') {
            true => format!("[{}]", server.host),
            false => server.host.clone(),
        };
        format!("{scheme}://{user}{host}:{}", server.port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_safe_on_its_way() {
        for good in [
            "http://127.0.0.1:8080/x",
            "http://[::1]/",
            "http://localhost/x",
        ] {
            assert!(webhook(good).is_ok_and(|url| url.is_some()), "{good}");
        }
        let far = webhook("https://hooks.example.org/T0/secret");
        assert_eq!(far.is_ok(), cfg!(feature = "tls"));
        for wrong in [
            "http://hooks.example.org/x",
            "http://192.0.2.1/",
            "http://user:pw@127.0.0.1/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "hooks.example.org",
        ] {
            assert!(webhook(wrong).is_err(), "{wrong}");
        }
        let url = webhook("http://127.0.0.1/secret").ok().flatten();
        assert_eq!(show_webhook(url.as_ref()), "http://127.0.0.1/...");
    }

    #[test]
    fn a_syslog_is_a_socket_or_an_address() {
        for text in ["", "/dev/log", "192.0.2.1:514", "[::1]:5514"] {
            let read = syslog(text).expect(text);
            assert_eq!(show_syslog(read.as_ref()), text);
        }
        assert!(syslog("dev/log").is_err() && syslog("loghost:514").is_err());
    }

    #[test]
    fn e_mail_leaves_the_machine_by_tls_alone() {
        let read = |text: &str| smtp(text).ok().flatten();
        let here = read("smtp://localhost").expect("right");
        assert_eq!((here.security, here.port), (Security::Plain, 25));
        let here = read("smtp://[::1]:2525").expect("right");
        assert_eq!((here.host.as_str(), here.port), ("::1", 2525));
        assert_eq!(show_smtp(Some(&here)), "smtp://[::1]:2525");
        if cfg!(feature = "tls") {
            let far = read("smtp://me%40x.org@mail.example.org").expect("right");
            assert_eq!((far.security, far.port), (Security::StartTls, 587));
            assert_eq!(far.user.as_deref(), Some("me@x.org"));
            let far = read("smtps://mail.example.org:443").expect("right");
            assert_eq!((far.security, far.port), (Security::Tls, 443));
        }
        for wrong in [
            "mail.example.org",
            "smtp://",
            "http://x",
            "smtp://u:p@localhost",
        ] {
            assert!(smtp(wrong).is_err(), "{wrong}");
        }
        assert!(mailboxes("root@example.org, Ops <ops@example.org>").is_ok());
        assert!(mailboxes("root").is_err() && mailboxes("a@b\r\nBcc: c@d").is_err());
    }

    #[test]
    fn what_belongs_together_is_asked_for() {
        let email = AlertSettings {
            email: mailboxes("root@example.org").expect("right"),
            ..AlertSettings::default()
        };
        assert!(email.fault().is_some_and(|fault| fault.contains("smtp")));
        let token = AlertSettings {
            webhook_token: Some(Secret("x".to_owned())),
            ..AlertSettings::default()
        };
        assert!(token.fault().is_some());
        assert_eq!(AlertSettings::default().fault(), None);
    }
}
