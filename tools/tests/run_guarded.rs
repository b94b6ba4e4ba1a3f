//! What the policy allows by itself does not come to the worker's own files, by whatever way.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use commands::{how, see};
use fazai_sandbox::Launcher;
use fazai_tools::{Confinement, How, OwnFiles};

/// A directory with a record, a policy, tools, and links to all of them.
fn own(at: &Path) -> OwnFiles {
    let (audit, tools, policy) = (
        at.join("w/audit"),
        at.join("w/tools"),
        at.join("w/policy.toml"),
    );
    for dir in [&audit, &tools] {
        fs::create_dir_all(dir).expect("made");
    }
    fs::write(audit.join("audit.key"), "KEY").expect("written");
    fs::write(&policy, "POLICY").expect("written");
    fs::write(tools.join("a.js"), "TOOL").expect("written");
    std::os::unix::fs::symlink(at.join("w/tools"), at.join("link")).expect("linked");
    OwnFiles {
        secret: vec![audit, policy, at.join("w/not-there")],
        kept: vec![tools],
    }
}

fn guarded(own: OwnFiles) -> Confinement {
    Confinement::Guarded {
        own,
        becomes_others: false,
    }
}

#[test]
fn own_files_are_out_of_reach_by_every_way() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: own_files_are_out_of_reach: only root has a view of its own");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let guarded = How {
        confinement: guarded(own(at)),
        ..how()
    };
    let root = at.display();
    for text in [
        format!("cat {root}/w/audit/audit.key"),
        format!("cat {root}/link/../audit/audit.key"),
        format!("cd {root}/w && cat aud?t/*.key policy.toml"),
        format!(
            "cp -r {root}/w {root}/copy; cat {root}/copy/audit/audit.key {root}/copy/policy.toml"
        ),
        format!("cp -rl {root}/w {root}/hard; cat {root}/hard/audit/audit.key"),
        format!("tar -C {root} -cf - w"),
        format!("cat {root}/w/policy.toml"),
    ] {
        let seen = see(&text, &guarded).stdout();
        assert!(
            !seen.contains("KEY") && !seen.contains("POLICY"),
            "{text}: {seen}"
        );
    }
    for text in [
        format!("echo x > {root}/w/tools/a.js"),
        format!("rm {root}/link/a.js"),
        format!("touch {root}/w/tools/evil.js"),
        format!("echo x > {root}/w/policy.toml"),
        format!("rm -r {root}/w/audit"),
        format!("mv {root}/w/audit {root}/gone"),
        // `mv` would copy what it can't rename.
        format!("python3 -c 'import os; os.rename(\"{root}/w\", \"{root}/old\")'"),
    ] {
        let seen = see(&text, &guarded);
        assert_ne!(seen.ended.exit_code, Some(0), "{text}: {seen:?}");
    }
    let read = |name: &str| fs::read_to_string(at.join("w").join(name)).expect("it is there");
    assert_eq!(read("audit/audit.key"), "KEY");
    assert_eq!(read("policy.toml"), "POLICY");
    assert_eq!(read("tools/a.js"), "TOOL");
    // Everything else is as it was, and what is changed there is changed for everybody.
    let text = format!("cat {root}/w/tools/a.js; echo new > {root}/w/other; df {root} >/dev/null");
    let seen = see(&text, &guarded);
    assert_eq!(
        (seen.stdout().as_str(), seen.ended.exit_code),
        ("TOOL", Some(0))
    );
    assert_eq!(read("other"), "new\n");
}

/// Somebody who is not root, and owns nothing.
const OTHER: u32 = 65534;

/// A keeper that is started as another user, in a directory of that user's. None: this is not root,
/// or there is no program that starts another one so.
fn as_other(at: &Path) -> Option<Launcher> {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !rustix::process::geteuid().is_root() || !setpriv.exists() {
        eprintln!("SKIPPED: it takes root and setpriv to run something as another user");
        return None;
    }
    let keeper = at.join("keeper");
    fs::copy(env!("CARGO_BIN_EXE_fazai-keeper"), &keeper).expect("copied");
    let made = std::process::Command::new("chown")
        .args(["-R", &format!("{OTHER}:{OTHER}")])
        .arg(at)
        .status();
    assert!(made.expect("chown").success());
    let words = [
        format!("--reuid={OTHER}"),
        format!("--regid={OTHER}"),
        "--clear-groups".into(),
        keeper.display().to_string(),
    ];
    Some(Launcher {
        program: setpriv.into(),
        args: words.into_iter().map(Into::into).collect(),
        user: None,
    })
}

/// Whether such a user can have a namespace here at all.
fn users_have_namespaces() -> bool {
    let user = OTHER.to_string();
    let tried = std::process::Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .args(["unshare", "--user", "--mount", "true"])
        .status();
    let have = tried.is_ok_and(|status| status.success());
    if !have {
        eprintln!("SKIPPED: this system lets users have no namespaces");
    }
    have
}

#[test]
fn who_is_not_root_is_kept_from_them_as_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let own = own(at);
    let Some(launcher) = as_other(at).filter(|_| users_have_namespaces()) else {
        return;
    };
    let how = How {
        confinement: guarded(own),
        launcher,
        ..how()
    };
    let root = at.display();
    for text in [
        format!("cat {root}/w/audit/audit.key {root}/w/policy.toml"),
        format!("cat {root}/link/../audit/audit.key"),
        // The link is swapped after the judgement.
        format!("ln -sfn {root}/w/audit {root}/swapped; cat {root}/swapped/audit.key"),
        format!("tar -C {root} -cf - w"),
        // Neither from a namespace of its own nor as a process of the same user outside.
        format!(
            "unshare --user --map-root-user --mount sh -c 'umount {root}/w/audit; cat {root}/w/audit/audit.key'"
        ),
        format!("umount {root}/w/audit; chmod 755 {root}/w/audit; cat {root}/w/audit/audit.key"),
    ] {
        let seen = see(&text, &how).stdout();
        assert!(
            !seen.contains("KEY") && !seen.contains("POLICY"),
            "{text}: {seen}"
        );
    }
    for text in [
        format!("echo x > {root}/w/tools/a.js"),
        format!("rm {root}/link/a.js"),
        format!("rm -r {root}/w/audit"),
        format!("mv {root}/w/policy.toml {root}/gone"),
    ] {
        let seen = see(&text, &how);
        assert_ne!(seen.ended.exit_code, Some(0), "{text}: {seen:?}");
    }
    // It is who it was, gets no rights, and what it makes is its own for everybody.
    let text = format!(
        "cat {root}/w/tools/a.js; id -u; id -g; grep -E 'NoNewPrivs|CapEff' /proc/self/status; \
         echo new > {root}/w/other"
    );
    let seen = see(&text, &how);
    let expected = format!("TOOL{OTHER}\n{OTHER}\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n");
    assert_eq!((seen.stdout(), seen.ended.exit_code), (expected, Some(0)));
    let made = fs::metadata(at.join("w/other")).expect("it is there");
    assert_eq!((made.uid(), made.gid()), (OTHER, OTHER));
    assert_eq!(
        fs::read_to_string(at.join("w/audit/audit.key")).expect("there"),
        "KEY"
    );
}

#[test]
fn who_becomes_somebody_else_has_no_view_of_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let own = own(directory.path());
    let Some(launcher) = as_other(directory.path()) else {
        return;
    };
    let how = How {
        confinement: Confinement::Guarded {
            own,
            becomes_others: true,
        },
        launcher,
        ..how()
    };
    let seen = see(
        "grep NoNewPrivs /proc/self/status; readlink /proc/self/ns/user",
        &how,
    );
    let namespace = fs::read_link("/proc/self/ns/user").expect("a namespace");
    let expected = format!("NoNewPrivs:\t0\n{}\n", namespace.display());
    assert_eq!(seen.stdout(), expected);
}
