//! Commands that may look at everything and change nothing.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::process::Command;

use commands::{how, read_only, see, try_run};
use fazai_sandbox::Sockets;
use fazai_tools::{Confinement, How, RunError, Source, Why};

/// False: this kernel has no Landlock, so that nothing runs read-only.
fn possible() -> bool {
    match try_run(commands::shell("true"), &read_only(), None) {
        Ok(_) => true,
        Err(RunError::NotConfined { why }) => {
            assert!(why.contains("Landlock") || why.contains("seccomp"), "{why}");
            eprintln!("SKIPPED: {why}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn nothing_outside_its_own_directory_is_changed() {
    if !possible() {
        return;
    }
    let outside = tempfile::tempdir().expect("a directory");
    let file = outside.path().join("file");
    std::fs::write(&file, "as it was").expect("written");
    let file = file.display();
    // No child of this process: those nobody may signal in any case.
    let started = Command::new("sh")
        .args(["-c", "sleep 60 > /dev/null 2>&1 & echo $!"])
        .output();
    let other = String::from_utf8(started.expect("a process").stdout).expect("UTF-8");
    let other = other.trim();
    for text in [
        "echo x > /etc/fazai-test".into(),
        "echo x > /tmp/fazai-test".into(),
        "echo x > $HOME/fazai-test".into(),
        "echo x > /dev/shm/fazai-test".into(),
        format!("echo x >> {file}"),
        format!("rm {file}"),
        format!("mv {file} {file}2"),
        format!("ln {file} $TMPDIR/link"),
        format!("chmod 777 {file}"),
        format!("chown 1 {file}"),
        format!("touch {file}"),
        format!("truncate -s 0 {file}"),
        "echo 1 > /proc/sys/kernel/printk".into(),
        "mount -t tmpfs tmpfs /mnt".into(),
        "unshare -m true".into(),
        "hostname other".into(),
        "date -s 2001-01-01".into(),
        format!("kill -0 {other}"),
        "ip link set lo down".into(),
        "ln -s /etc/passwd $TMPDIR/p && echo x >> $TMPDIR/p".into(),
    ] {
        let seen = see(&text, &read_only());
        assert_ne!(seen.ended.exit_code, Some(0), "{text}: {seen:?}");
        let said = seen.text(Source::Stderr);
        assert!(
            [
                "ermission denied",
                "not permitted",
                "ross-device",
                "must be "
            ]
            .iter()
            .any(|no| said.contains(no)),
            "{text}: {said}"
        );
    }
    let ended = Command::new("kill").arg(other).status();
    assert!(ended.expect("kill runs").success());
    let kept = std::fs::read_to_string(outside.path().join("file"));
    assert_eq!(kept.expect("still there"), "as it was");
}

#[test]
fn its_own_directory_is_fresh_and_goes_away() {
    if !possible() {
        return;
    }
    let text = "ls -A $TMPDIR; mkdir $TMPDIR/d && echo hi > $TMPDIR/d/f && cat $TMPDIR/d/f; \
                echo x > /dev/null; echo $TMPDIR";
    let seen = see(text, &read_only());
    let out = seen.stdout();
    let (first, temp) = out.trim_end().split_once('\n').expect("two lines");
    assert_eq!(first, "hi");
    assert!(!std::path::Path::new(temp).exists(), "{temp}");
    assert_eq!(seen.text(Source::Stderr), "");
}

#[test]
fn what_looks_at_the_machine_works() {
    if !possible() {
        return;
    }
    for text in [
        "cat /etc/passwd",
        "ls -l /proc/1/",
        "ps aux",
        "df -h",
        "du -s /etc",
        "ss -tln",
        "ip addr",
        "uptime",
        "free",
        "find /etc -name passwd",
        "seq 1000 | sort -R | sort -n | tail -n 1",
        "journalctl --no-pager -n 1",
        "python3 -c 'print(sum(range(10)))'",
        "git --version",
        "awk 'BEGIN { print 1 }'",
        "cat <<< here",
        "(sleep 0.01 & wait); kill -0 $$",
        "echo hi 2>/dev/null",
    ] {
        let program = text.split(' ').next().expect("a word");
        if !text.starts_with('(') && !installed(program) {
            eprintln!("SKIPPED: {program} is not installed");
            continue;
        }
        let free = see(text, &how());
        let seen = see(text, &read_only());
        assert_eq!(
            seen.ended.exit_code,
            free.ended.exit_code,
            "{text}: {}",
            seen.text(Source::Stderr)
        );
        assert_eq!(seen.stdout().is_empty(), free.stdout().is_empty(), "{text}");
    }
}

fn installed(program: &str) -> bool {
    let text = format!("command -v {program}");
    let output = Command::new("bash").args(["-c", &text]).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn time_ends_it_as_well() {
    if !possible() {
        return;
    }
    let mark = commands::mark(1);
    let how = How {
        timeout: std::time::Duration::from_millis(500),
        ..read_only()
    };
    let text = format!("trap '' TERM; setsid -f sleep {mark}; sleep {mark}");
    assert_eq!(see(&text, &how).ended.why, Why::TimedOut);
    assert!(!commands::runs(&mark));
}

#[test]
fn a_secret_that_is_made_later_is_hidden_from_the_next_command() {
    if !possible() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let path = |name: &str| place.path().join(name);
    let how = How {
        confinement: Confinement::ReadOnly {
            hidden: vec![path("key"), path("later")],
            sockets: Sockets::All,
        },
        ..how()
    };
    let reads = |name: &str| {
        let seen = see(&format!("cat {}", path(name).display()), &how);
        seen.stdout().contains("secret")
    };
    std::fs::write(path("key"), "secret").expect("written");
    std::fs::write(path("plain"), "no secret").expect("written");
    for _ in 0..2 {
        assert!(reads("plain") && !reads("key"));
    }
    std::fs::write(path("later"), "secret").expect("written");
    assert!(reads("plain") && !reads("later"));
    // What was shown becomes another name for what is not.
    std::os::unix::fs::symlink(path("key"), path("link")).expect("made");
    std::fs::rename(path("link"), path("plain")).expect("renamed");
    assert!(!reads("plain"));
    // And a secret that is no secret any more is shown.
    std::fs::rename(path("key"), path("moved")).expect("renamed");
    assert!(reads("moved"));
}
