//! A datagram for syslog, RFC 5424: the sentence about the incident, and its row as JSON.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use fazai_tools::Action;
use fazai_watch::Severity;
use tokio::net::{UdpSocket, UnixDatagram};

use super::{Failure, Record, past_gate};
use crate::config::SyslogPlace;
use crate::worker::Shared;

/// What every receiver of RFC 5424 should take.
const BYTES_MAX: usize = 2_048;

/// Messages of security, as `authpriv`.
const FACILITY: u8 = 10;

pub(super) struct Syslog(pub(super) SyslogPlace);

impl Syslog {
    pub(super) async fn deliver(
        &self,
        shared: &Arc<Shared>,
        record: &Record,
    ) -> Result<(), Failure> {
        let action = match &self.0 {
            SyslogPlace::Socket(path) => Action::write_file(path.clone()),
            SyslogPlace::Udp(address) => Action::Network {
                host: address.ip().to_string(),
                port: address.port(),
            },
        };
        past_gate(shared, action, self.send(line(record))).await
    }

    async fn send(&self, line: String) -> Result<(), Failure> {
        let sent = match &self.0 {
            SyslogPlace::Socket(path) => {
                let socket = UnixDatagram::unbound();
                let socket = socket.map_err(|fault| Failure::Away(fault.to_string()))?;
                // A full receiver makes it wait, and that has an end.
                socket.send_to(line.as_bytes(), path).await
            }
            SyslogPlace::Udp(address) => {
                let any: IpAddr = match address.ip() {
                    IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0)).await;
                let socket = socket.map_err(|fault| Failure::Away(fault.to_string()))?;
                socket.send_to(line.as_bytes(), address).await
            }
        };
        sent.map(drop).map_err(|fault| self.failure(&fault))
    }

    fn failure(&self, fault: &io::Error) -> Failure {
        let place = match &self.0 {
            SyslogPlace::Socket(path) => path.display().to_string(),
            SyslogPlace::Udp(address) => address.to_string(),
        };
        let wrong = rustix::io::Errno::from_io_error(fault) == Some(rustix::io::Errno::PROTOTYPE);
        if wrong {
            return Failure::Refused(format!(
                "{place} is no socket of datagrams; name another one in alert_syslog"
            ));
        }
        Failure::Away(format!("{place}: {fault}"))
    }
}

/// `<PRI>1 TIME HOST fazai PID incident - TEXT {...}`
fn line(record: &Record) -> String {
    let severity = match record.severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    };
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let host: String = host
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    let host = if host.is_empty() { "-" } else { &host };
    let time = if record.time.is_empty() {
        "-"
    } else {
        &record.time
    };
    let mut line = format!(
        "<{}>1 {time} {host} fazai {} incident - {} {}",
        FACILITY * 8 + severity,
        std::process::id(),
        record.line(),
        record.row(),
    );
    line.truncate(line.floor_char_boundary(BYTES_MAX));
    line
}

#[cfg(test)]
mod tests {
    use fazai_watch::format::{Format, Parser};
    use fazai_watch::time::Clock;
    use fazai_watch::{Category, Severity};

    use super::*;
    use crate::watching::record::example;

    #[test]
    fn a_line_is_what_a_reader_of_the_rfc_takes() {
        let mut record = Record {
            time: "2026-11-03T04:12:07.123Z".to_owned(),
            severity: Severity::High,
            category: Category::Bruteforce,
            subject: "x".repeat(5_000),
            ..example(7, None)
        };
        let long = line(&record);
        assert!(long.len() <= BYTES_MAX && long.starts_with("<83>1 2026-11-03T04:12:07.123Z "));
        record.subject = "sshd on host".to_owned();
        let short = line(&record);
        let mut parser = Parser::new(Clock::of_machine()).only(Format::Syslog);
        let event = parser.parse(&short).expect("it is read");
        assert_eq!(event.process, "fazai");
        assert_eq!(event.severity, Some(Severity::High));
        assert!(
            event
                .message
                .starts_with("high bruteforce sshd on host: alert {")
        );
    }
}
