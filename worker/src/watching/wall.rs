//! What drops packets or requests: the firewall of the kernel, CrowdSec, or a file that a server
//! reads.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fazai_watch::action::Kind;
use fazai_watch::enforce::crowdsec::CrowdSec;
use fazai_watch::enforce::deny::{Reader, render};
use fazai_watch::enforce::nft::{Nft, Ran, Run};
use fazai_watch::enforce::{Block, BlockId, Change, Firewall, FirewallError, Held, Measure};
use fazai_watch::time::Timestamp;
use ipnet::IpNet;
use rustix::process::{Pid, Signal, kill_process_group};

/// A firewall that does not answer within this time is no help.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Five thousand blocks are a megabyte; nothing has a reason to say more.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What drops packets or requests.
pub(super) enum Wall {
    /// Nothing: it is only said what would be done.
    Nothing,
    Nft(Nft<Program>),
    CrowdSec(CrowdSec<Program>),
    File(DenyFile),
}

impl Firewall for Wall {
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Nft(nft) => nft.apply(changes),
            Self::CrowdSec(crowdsec) => crowdsec.apply(changes),
            Self::File(file) => file.apply(changes),
        }
    }

    fn held(&mut self) -> Result<Vec<Held>, FirewallError> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Nft(nft) => nft.held(),
            Self::CrowdSec(crowdsec) => crowdsec.held(),
            Self::File(file) => file.held(),
        }
    }
}

/// Starts `nft` or `cscli`, without a shell and without the worker's environment.
pub(super) struct Program;

impl Run for Program {
    fn run(&mut self, argv: &[&str], stdin: &str) -> io::Result<Ran> {
        let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (input, output, complaint) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            scope.spawn(|| input.map(|mut input| input.write_all(stdin.as_bytes())));
            let output = scope.spawn(|| text(output));
            let complaint = scope.spawn(|| text(complaint));
            let ok = wait(&mut child)?;
            let said = |text: thread::Result<String>| text.unwrap_or_default();
            let ran = Ran {
                ok,
                stdout: said(output.join()),
                stderr: said(complaint.join()),
            };
            // Half of a list is none.
            if ran.stdout.len() as u64 >= ANSWER_BYTES_MAX {
                return Err(io::Error::other("it says more than anybody reads"));
            }
            Ok(ran)
        })
    }
}

fn text(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What says more finds nobody who reads it.
        let _ = from.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether it ended well; one that does not end is ended.
fn wait(child: &mut Child) -> io::Result<bool> {
    let until = Instant::now() + ANSWER_TIME;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= until {
            // What it started holds its output open.
            let group = Pid::from_raw(child.id().cast_signed());
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// A file of addresses. Nothing ends in it by itself: see [`Enforcer::reconcile`].
///
/// [`Enforcer::reconcile`]: fazai_watch::enforce::Enforcer::reconcile
pub(super) struct DenyFile {
    reader: Reader,
    path: PathBuf,
    nets: BTreeMap<IpNet, Timestamp>,
    /// Whether the file is what is known here.
    written: bool,
}

impl DenyFile {
    pub(super) fn new(reader: Reader, path: PathBuf) -> Self {
        Self {
            reader,
            path,
            nets: BTreeMap::new(),
            written: false,
        }
    }

    /// Whoever reads the file never sees half of it.
    fn write(&mut self) -> io::Result<()> {
        let blocks: Vec<Block> = self
            .nets
            .iter()
            .map(|(net, until)| block(*net, *until))
            .collect();
        let new = self.path.with_extension("fazai-new");
        let mut file = fs::File::create(&new)?;
        file.write_all(render(self.reader, &blocks).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.written = true;
        Ok(())
    }
}

fn block(net: IpNet, until: Timestamp) -> Block {
    Block {
        id: BlockId(0),
        kind: Kind::DenyFile,
        measure: Measure::Block,
        net,
        rule: String::new(),
        incident: String::new(),
        since: until,
        until,
        confirmed: true,
    }
}

impl Firewall for DenyFile {
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        let before = self.nets.clone();
        for change in changes {
            match *change {
                Change::Put {
                    measure: Measure::Limit(_),
                    ..
                } => {
                    self.nets = before;
                    let why = "a deny file can't limit how much comes";
                    return Err(FirewallError::Refused(why.to_owned()));
                }
                Change::Put { net, ttl_s, .. } => {
                    let until = Timestamp::now().plus_s(ttl_s.into());
                    self.nets.insert(net, until);
                }
                Change::Remove { net, .. } => {
                    self.nets.remove(&net);
                }
            }
        }
        self.write().map_err(|fault| {
            self.nets = before;
            FirewallError::Refused(format!("{}: {fault}", self.path.display()))
        })
    }

    fn held(&mut self) -> Result<Vec<Held>, FirewallError> {
        if !self.written {
            self.apply(&[])?;
        }
        let now = Timestamp::now();
        let held = self.nets.iter().map(|(net, until)| Held {
            measure: Measure::Block,
            net: *net,
            left_s: u32::try_from(until.seconds() - now.seconds()).unwrap_or(0),
        });
        Ok(held.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deny_file_is_always_whole_and_says_what_holds() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deny.conf");
        fs::write(&path, "deny 192.0.2.1;\n").expect("writable");
        let mut file = DenyFile::new(Reader::Nginx, path.clone());
        let text = || fs::read_to_string(&path).expect("readable");
        // What was there before is of nobody.
        assert!(file.held().expect("held").is_empty());
        assert!(!text().contains("deny "));
        let net: IpNet = "203.0.113.7/32".parse().expect("a network");
        let put = |measure| Change::Put {
            measure,
            net,
            ttl_s: 60,
        };
        file.apply(&[put(Measure::Block)]).expect("written");
        assert!(text().contains("deny 203.0.113.7/32;"), "{}", text());
        assert!(file.apply(&[put(Measure::Limit(5))]).is_err());
        let held = file.held().expect("held");
        assert!(held.len() == 1 && held[0].left_s >= 58, "{held:?}");
        let measure = Measure::Block;
        file.apply(&[Change::Remove { measure, net }])
            .expect("written");
        assert!(!text().contains("203.0.113.7"));
        for (reader, line) in [
            (Reader::Apache, "Require not ip 203.0.113.7/32"),
            (Reader::List, "203.0.113.7/32"),
        ] {
            let mut file = DenyFile::new(reader, path.clone());
            file.apply(&[put(Measure::Block)]).expect("written");
            let written = text();
            let lines: Vec<&str> = written
                .lines()
                .filter(|line| !line.starts_with('#'))
                .collect();
            assert_eq!(lines, [line]);
        }
    }

    #[test]
    fn a_program_that_hangs_is_ended_and_one_that_talks_is_heard() {
        let ran = Program
            .run(&["cat"], &"x".repeat(1 << 20))
            .expect("it runs");
        assert!(ran.ok && ran.stdout.len() == 1 << 20);
        let failed = Program.run(&["false"], "").expect("it runs");
        assert!(!failed.ok);
        // What it started is ended with it.
        let fault = Program.run(&["sh", "-c", "sleep 600; true"], "");
        let kind = fault.map(drop).map_err(|fault| fault.kind());
        assert_eq!(kind, Err(io::ErrorKind::TimedOut));
        // What never stops talking is not listened to for ever.
        for script in ["yes; true", "yes"] {
            let ran = Program.run(&["sh", "-c", script], "");
            assert!(ran.is_err(), "{script}");
        }
    }
}
