//! Logs that the real programs write: sshd, nginx, logrotate, the journal.
//!
//! `FAZAI_TEST_REAL_PARTS` names their directory; otherwise it is where `./real-parts` puts it.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fazai_watch::detect::Thresholds;
use fazai_watch::input::{Follow, Input, Listen, Start};
use fazai_watch::signature::Signatures;
use fazai_watch::time::Clock;
use fazai_watch::watch::LINE_BYTES_MAX;
use fazai_watch::{Category, Incident, Place, Severity, Watch};

const PATIENCE: Duration = Duration::from_secs(60);

/// Programs that are unpacked, with the libraries they want.
struct Parts(PathBuf);

impl Parts {
    /// Nothing, said aloud, if they are not there.
    fn find() -> Option<Self> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let parts = std::env::var_os("FAZAI_TEST_REAL_PARTS");
        let parts = parts.map_or_else(|| target.join("real-parts"), PathBuf::from);
        if parts.join("whole").is_file() {
            return Some(Self(parts));
        }
        let path = parts.display();
        eprintln!("SKIPPED: no real programs in {path}; run worker/watch/real-parts to get them");
        None
    }

    fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        let below = ["lib", "usr/lib"].map(|lib| self.0.join(lib).join("x86_64-linux-gnu"));
        let all = below
            .iter()
            .flat_map(|dir| [dir.clone(), dir.join("systemd")]);
        command.env("LD_LIBRARY_PATH", std::env::join_paths(all).unwrap());
        command
    }
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watch() -> Watch {
    let (thresholds, signatures) = (Thresholds::default(), Signatures::default());
    Watch::new(Clock::of_machine(), thresholds, signatures)
}

/// Reads until there is an incident that fits.
fn found(input: &mut impl Input, watch: &mut Watch, fits: impl Fn(&Incident) -> bool) -> Incident {
    let begun = Instant::now();
    let mut all = Vec::new();
    while begun.elapsed() < PATIENCE {
        let mut lines = |at, line: &[u8]| {
            watch.line(Place { source: 0, at }, line);
            all.push(String::from_utf8_lossy(line).into_owned());
        };
        input.poll(&mut lines).unwrap();
        if let Some(found) = watch.take_incidents(Severity::Low).into_iter().find(&fits) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("nothing was found in {all:#?}");
}

/// A port that was free just now.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn connect(port: u16) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => return stream,
            Err(fault) => assert!(begun.elapsed() < PATIENCE, "{fault}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nginx_logs_requests_as_they_are_read_here() {
    let Some(parts) = Parts::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (home, port) = (dir.path().display(), port());
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp
        .map(|name| format!("{name}_temp_path {home}/{name};"))
        .join("\n");
    // Who asks says where it comes from, as a proxy before nginx would.
    let config = format!(
        "daemon off; master_process off; pid {home}/pid; error_log {home}/error.log; events {{}}
        http {{ access_log {home}/access.log; {temp}
        set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;
        server {{ listen 127.0.0.1:{port}; location / {{ return 404; }} location /ok {{ return 200 ok; }} }} }}"
    );
    let path = dir.path().join("nginx.conf");
    fs::write(&path, config).unwrap();
    let error_log = dir.path().join("error.log");
    let mut nginx = parts.command("usr/sbin/nginx");
    nginx.arg("-c").arg(&path).arg("-e").arg(&error_log);
    let _nginx = Running(nginx.spawn().unwrap());

    let ask = |ip: &str, url: &str| {
        let mut stream = connect(port);
        let agent = "Mozilla/5.0 (\\\"x\\\") \\x1b[31m";
        write!(
            stream,
            "GET {url} HTTP/1.0\r\nX-Real-IP: {ip}\r\nUser-Agent: {agent}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    };
    ask("192.0.2.44", "/ok?q=union+suit");
    ask(
        "203.0.113.9",
        "/ok?id=1%27%20UNION%20SELECT%20pass%20FROM%20users",
    );
    let mut follow = Follow::new(
        &dir.path().join("access.log"),
        None,
        Start::Beginning,
        LINE_BYTES_MAX,
    )
    .unwrap();
    let mut watch = watch();
    let exploit = found(&mut follow, &mut watch, |it| {
        it.category == Category::Exploit
    });
    assert_eq!(exploit.actor, Some("203.0.113.9".parse().unwrap()));
    for n in 0..40 {
        ask("203.0.113.10", &format!("/admin{n}.php"));
    }
    let recon = found(&mut follow, &mut watch, |it| it.category == Category::Recon);
    assert_eq!(recon.actor, Some("203.0.113.10".parse().unwrap()));
    assert_eq!(watch.stats().unreadable, 0);
}

/// In a mount namespace of its own, in which `/dev/log` is ours.
const SSHD: &str = r#"set -e
mkdir "$DIR/run" "$DIR/empty"
for node in null zero random urandom tty ptmx; do
  touch "$DIR/dev/$node"
  mount --bind "/dev/$node" "$DIR/dev/$node"
done
mount --rbind "$DIR/dev" /dev
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
cp /etc/passwd "$DIR/passwd"
grep -q '^sshd:' "$DIR/passwd" || echo "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin" >> "$DIR/passwd"
mount --bind "$DIR/passwd" /etc/passwd
exec "$SSHD" -D -f "$DIR/sshd_config"
"#;

#[test]
fn sshd_logs_failed_logins_as_they_are_read_here() {
    let Some(parts) = Parts::find() else { return };
    if !rustix::process::getuid().is_root() {
        return eprintln!("SKIPPED: sshd needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("dev")).unwrap();
    let mut log = Listen::unix_datagram(&at("dev/log"), LINE_BYTES_MAX).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    keygen
        .args(["-q", "-N", "", "-t", "ed25519", "-f"])
        .arg(at("key"));
    assert!(keygen.status().unwrap().success());
    let port = port();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\nMaxAuthTries 3\nLoginGraceTime 20\n",
        at("key").display()
    );
    fs::write(at("sshd_config"), config).unwrap();
    let mut sshd = Command::new("unshare");
    sshd.args(["--mount", "sh", "-c", SSHD])
        .env("DIR", dir.path());
    sshd.env("SSHD", parts.path("usr/sbin/sshd"));
    let _sshd = Running(sshd.spawn().unwrap());
    drop(connect(port));

    let askpass = at("askpass");
    fs::write(&askpass, "#!/bin/sh\necho wrong\n").unwrap();
    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
    let guess = || {
        for n in 0..4 {
            let mut ssh = Command::new("ssh");
            ssh.args([
                "-F",
                "none",
                "-p",
                &port.to_string(),
                "-o",
                "StrictHostKeyChecking=no",
            ]);
            ssh.args([
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "PreferredAuthentications=password",
            ]);
            ssh.arg(format!("nobody{n}@127.0.0.1")).arg("true");
            ssh.env("SSH_ASKPASS", &askpass)
                .env("SSH_ASKPASS_REQUIRE", "force");
            ssh.stdin(Stdio::null()).stderr(Stdio::null());
            assert!(!ssh.status().unwrap().success());
        }
    };
    let mut watch = watch();
    // sshd waits for whoever reads its log.
    let incident = std::thread::scope(|threads| {
        let guessing = threads.spawn(guess);
        let fits = |it: &Incident| it.category == Category::Bruteforce;
        let incident = found(&mut log, &mut watch, fits);
        while !guessing.is_finished() {
            log.poll(&mut |_, _| {}).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        incident
    });
    assert!(incident.users.contains("nobody0"), "{incident:?}");
    assert_eq!(incident.actor, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(watch.stats().unreadable, 0);
}

#[test]
fn logrotate_loses_no_line() {
    let Some(parts) = Parts::find() else { return };
    for (how, moves) in [("create 0600", true), ("copytruncate", false)] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let log = at("app.log");
        let config = format!("{} {{\n rotate 3\n {how}\n}}\n", log.display());
        fs::write(at("rotate.conf"), config).unwrap();
        let open = || {
            fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&log)
                .unwrap()
        };
        let mut file = open();
        let mut follow =
            Follow::new(&log, Some(&at("kept")), Start::Beginning, LINE_BYTES_MAX).unwrap();
        let mut seen = Vec::new();
        let mut poll = |follow: &mut Follow| {
            let mut each = |_, line: &[u8]| seen.push(String::from_utf8_lossy(line).into_owned());
            while follow.poll(&mut each).unwrap() > 0 {}
        };
        for round in 0..6 {
            writeln!(file, "before {round}").unwrap();
            if !moves {
                // What is written between the copy and the cut is lost by logrotate itself.
                poll(&mut follow);
            }
            let mut rotate = parts.command("usr/sbin/logrotate");
            rotate
                .arg("--force")
                .arg("--state")
                .arg(at("state"))
                .arg(at("rotate.conf"));
            assert!(rotate.status().unwrap().success());
            if moves {
                // Its writer is slow to notice.
                writeln!(file, "late {round}").unwrap();
                file = open();
            }
            writeln!(file, "after {round}").unwrap();
            poll(&mut follow);
            if round == 3 {
                follow.commit().unwrap();
                follow =
                    Follow::new(&log, Some(&at("kept")), Start::Beginning, LINE_BYTES_MAX).unwrap();
            }
        }
        let lines = |round: u32| {
            let late = moves.then(|| format!("late {round}"));
            [
                Some(format!("before {round}")),
                late,
                Some(format!("after {round}")),
            ]
        };
        let written: Vec<String> = (0..6).flat_map(lines).flatten().collect();
        assert_eq!(seen, written, "{how}");
    }
}

#[test]
fn the_journal_is_read_as_it_is_written_out() {
    let Some(parts) = Parts::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("remote.journal");
    let mut remote = parts.command("lib/systemd/systemd-journal-remote");
    remote
        .arg(format!("--output={}", journal.display()))
        .arg("-");
    let mut remote = remote
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut entries = remote.stdin.take().unwrap();
    let boot = "_BOOT_ID=0123456789abcdef0123456789abcdef";
    for n in 0..20_u64 {
        let time = 1_748_772_000_000_000 + n;
        write!(
            entries,
            "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={n}\n{boot}\nPRIORITY=6\n"
        )
        .unwrap();
        write!(entries, "SYSLOG_IDENTIFIER=sshd\n_HOSTNAME=web1\n").unwrap();
        // A user name that is no UTF-8, which the journal shows as a list of bytes.
        let message = [
            b"Failed password for invalid user \xff\xfe from 203.0.113.9 port ",
            n.to_string().as_bytes(),
            b" ssh2",
        ]
        .concat();
        entries.write_all(b"MESSAGE\n").unwrap();
        entries
            .write_all(&(message.len() as u64).to_le_bytes())
            .unwrap();
        entries.write_all(&message).unwrap();
        entries.write_all(b"\n\n").unwrap();
    }
    drop(entries);
    assert!(remote.wait().unwrap().success());
    let mut journalctl = Command::new("journalctl");
    journalctl
        .arg("--file")
        .arg(&journal)
        .args(["-o", "json", "--no-pager"]);
    let shown = journalctl.output().unwrap();
    let lines = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(
        lines.lines().count(),
        20,
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    let mut watch = watch();
    for (at, line) in (1..).zip(lines.lines()) {
        watch.line(Place { source: 0, at }, line.as_bytes());
    }
    let incidents = watch.take_incidents(Severity::Low);
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].category, Category::Bruteforce);
    assert_eq!(incidents[0].actor, Some("203.0.113.9".parse().unwrap()));
}
