//! What the policy allows by itself does not come to the worker's own files, by whatever way.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::fs;
use std::path::Path;

use commands::{how, see};
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

#[test]
fn own_files_are_out_of_reach_by_every_way() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: own_files_are_out_of_reach: only root has a view of its own");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let guarded = How {
        confinement: Confinement::Guarded(own(at)),
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
