//! What a module's process may do, as the layers of the sandbox are told.

use std::path::PathBuf;

use fazai_sandbox::{Calls, Files, Limits, NOBODY, Rights, Rule, Wanted};

use crate::manifest::Capabilities;
use crate::message::Start;

/// What the dynamic loader reads, and what the C library reads by itself.
const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
];

/// What finding a name and checking a certificate take.
const NETWORK: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl",
    "/etc/pki/tls",
    "/usr/share/ca-certificates",
];

/// Where programs are.
const PROGRAMS: &[&str] = &["/bin", "/sbin", "/usr", "/opt"];

const FILES_OPEN: u64 = 256;
const THREADS: u64 = 256;
const FILE_BYTES: u64 = 256 << 20;

/// What a module with these rights is confined to.
pub(crate) fn wanted(start: &Start) -> Wanted {
    let Capabilities { network, exec, .. } = start.capabilities;
    Wanted {
        mounts: None,
        no_new_privs: true,
        files: Some(files(&start.capabilities)),
        user: Some(start.user.unwrap_or(NOBODY)),
        only_sees: false,
        parent: Some(start.parent),
        limits: limits(start),
        calls: Some(Calls::Module { network, exec }),
    }
}

fn files(capabilities: &Capabilities) -> Files {
    let Capabilities { network, exec, .. } = *capabilities;
    let loader = if exec { Rights::Run } else { Rights::Read };
    let mut rules = vec![
        rule(LIBRARIES, loader),
        rule(&["/dev/null"], Rights::Write),
        rule(&capabilities.files, Rights::Read),
        rule(&capabilities.files_writable, Rights::Change),
    ];
    if network {
        rules.push(rule(NETWORK, Rights::Read));
    }
    if exec {
        rules.push(rule(PROGRAMS, Rights::Run));
    }
    Files {
        rules,
        tcp: network,
    }
}

fn rule<P: Clone + Into<PathBuf>>(paths: &[P], rights: Rights) -> Rule {
    Rule {
        paths: paths.iter().cloned().map(Into::into).collect(),
        rights,
    }
}

fn limits(start: &Start) -> Limits {
    let writes = !start.capabilities.files_writable.is_empty();
    Limits {
        memory_bytes: Some(start.memory_bytes_max),
        file_bytes: Some(if writes { FILE_BYTES } else { 0 }),
        locked_bytes: Some(0),
        queue_bytes: Some(0),
        files_open: Some(FILES_OPEN),
        threads: Some(THREADS),
    }
}
