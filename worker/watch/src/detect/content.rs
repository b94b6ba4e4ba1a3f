//! What one event shows by itself: names, files, clients, requests, uploads.

use super::Finding;
use crate::event::{Category, Event, Http, Kind, Severity};
use crate::signature::Signatures;

/// Labels of DNS so long are not made by people.
const LABEL_BYTES_MIN: usize = 30;

pub(super) fn look(event: &Event<'_>, found: &mut Vec<Finding<'_>>) {
    match event.kind {
        Kind::Dns | Kind::Tls => name(event, found),
        Kind::File => file(event, found),
        Kind::Ssh => client(event, found),
        _ => {}
    }
}

fn name(event: &Event<'_>, found: &mut Vec<Finding<'_>>) {
    const MINERS: &[&str] = &[
        "xmr",
        "monero",
        "nanopool",
        "minexmr",
        "nicehash",
        "miningpool",
        "2miners",
    ];
    let name = &*event.name;
    if name.is_empty() {
        return;
    }
    let has = |word: &&str| memchr::memmem::find(name.as_bytes(), word.as_bytes()).is_some();
    let onion = name.ends_with(".onion") || name.ends_with(".onion.");
    let finding = if MINERS.iter().any(has) {
        ("name of a mining pool", Severity::High, Category::Malware)
    } else if onion {
        (
            "name in the Tor network",
            Severity::Medium,
            Category::Policy,
        )
    } else if event.kind == Kind::Dns && name.split('.').any(random) {
        ("data in a DNS name", Severity::High, Category::Exfiltration)
    } else {
        return;
    };
    found.push(Finding::of(event, finding.0, finding.1, finding.2));
}

/// Whether a label is long and mixes letters and digits as encoded data does.
fn random(label: &str) -> bool {
    if label.len() < LABEL_BYTES_MIN || label.starts_with("xn--") {
        return false;
    }
    let digits = label.bytes().filter(u8::is_ascii_digit).count();
    let letters = label.bytes().filter(u8::is_ascii_alphabetic).count();
    let dashes = label.bytes().filter(|byte| *byte == b'-').count();
    // Mixed all along, and no words with dashes between them.
    let changes = label.as_bytes().windows(2);
    let changes = changes
        .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
        .count();
    digits * 10 >= label.len() && letters > 0 && dashes <= 1 && changes * 5 >= label.len()
}

fn is_program(name: &str) -> bool {
    const ENDS: &[&str] = &[".sh", ".elf", ".exe", ".bin", ".ps1", ".bat", ".scr"];
    ENDS.iter().any(|end| name.ends_with(end))
}

fn file(event: &Event<'_>, found: &mut Vec<Finding<'_>>) {
    let magic = &event.message;
    if magic.starts_with("ELF") || magic.starts_with("PE32") || is_program(&event.file) {
        found.push(Finding::of(
            event,
            "a program on the wire",
            Severity::Medium,
            Category::Malware,
        ));
    }
}

fn client(event: &Event<'_>, found: &mut Vec<Finding<'_>>) {
    const SCANNERS: &[&str] = &[
        "zgrab", "masscan", "Nmap", "libssh_0", "libssh-0", "paramiko", "JSCH", "AsyncSSH",
    ];
    let client = &*event.message;
    if client == "Go" || SCANNERS.iter().any(|name| client.contains(name)) {
        found.push(Finding::of(
            event,
            "ssh by a script",
            Severity::Low,
            Category::Recon,
        ));
    }
}

pub(super) fn upload(event: &Event<'_>, threshold: u64, found: &mut Vec<Finding<'_>>) {
    if event.bytes >= threshold {
        let great = event.bytes / 10 >= threshold;
        let severity = if great {
            Severity::High
        } else {
            Severity::Medium
        };
        found.push(Finding::of(
            event,
            "large upload",
            severity,
            Category::Exfiltration,
        ));
    }
}

pub(super) fn request<'e>(
    event: &Event<'_>,
    http: &Http<'_>,
    signatures: &Signatures,
    found: &mut Vec<Finding<'e>>,
) {
    if let Some(matched) = signatures.find(http) {
        let severity = if event.stopped {
            matched.severity.lower()
        } else {
            matched.severity
        };
        if severity > Severity::Info {
            found.push(Finding::of(
                event,
                matched.id.to_owned(),
                severity,
                matched.category,
            ));
        }
        return;
    }
    const FETCHERS: &[&str] = &[
        "curl",
        "Wget",
        "wget",
        "python-requests",
        "PowerShell",
        "busybox",
    ];
    let path = http.url.split('?').next().unwrap_or_default();
    let fetches = || FETCHERS.iter().any(|name| http.agent.contains(name));
    if is_program(path) && (200..300).contains(&http.status) && fetches() {
        found.push(Finding::of(
            event,
            "a program was fetched",
            Severity::High,
            Category::Malware,
        ));
    } else if http.status >= 500 && event.severity >= Some(Severity::Medium) {
        let mut finding = Finding::of(event, "the server failed", Severity::Low, Category::Web);
        finding.actor = None;
        found.push(finding);
    }
}
