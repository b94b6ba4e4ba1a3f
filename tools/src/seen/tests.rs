use super::*;
use std::fs;

fn paths(action: &Action) -> Vec<PathBuf> {
    Seen::of(action)
        .files
        .into_iter()
        .map(|file| file.path)
        .collect()
}

#[test]
fn programs_and_scripts_are_looked_at_and_data_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = fs::canonicalize(directory.path()).expect("a path");
    for name in ["run.sh", "x.py", "data"] {
        fs::write(at.join(name), name).expect("written");
    }
    let check = |text: &str, expected: &[&str]| {
        let found = paths(&Action::shell(text, &at));
        let own: Vec<_> = found.iter().filter(|path| path.starts_with(&at)).collect();
        let expected: Vec<_> = expected.iter().map(|name| at.join(name)).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>(), "{text}");
    };
    check("./run.sh data", &["run.sh"]);
    check("sudo ./run.sh", &["run.sh"]);
    check("python3 -W ignore x.py", &["x.py"]);
    check("bash < run.sh", &["run.sh"]);
    check(". ./run.sh", &["run.sh"]);
    check("cat data | python3 x.py", &["x.py"]);
    check("cat data; rm run.sh", &[]);
    check("python3 nothing.py", &[]);
    check(&format!("cd {} && ./run.sh", at.display()), &["run.sh"]);
    let bash = paths(&Action::shell("reboot", "/"));
    assert!(bash.iter().any(|path| path.ends_with("bash")), "{bash:?}");
}

#[test]
fn what_changes_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("run.sh");
    fs::write(&path, "true").expect("written");
    let action = Action::shell(path.display().to_string(), "/");
    let seen = Seen::of(&action);
    assert_eq!(seen.check(&action), Ok(()));
    fs::write(&path, "evil").expect("written");
    let changed = Changed {
        path: path.clone(),
        became: Became::Content,
    };
    assert_eq!(seen.check(&action), Err(changed));
    fs::remove_file(&path).expect("removed");
    assert!(seen.check(&action).is_err());
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).expect("a pipe");
    assert!(seen.check(&action).is_err(), "it waits for nobody");
}

fn lines(text: &str, cwd: &Path) -> Vec<String> {
    Seen::of(&Action::shell(text, cwd)).lines()
}

#[test]
fn a_path_that_is_made_to_lead_elsewhere_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = fs::canonicalize(directory.path()).expect("a path");
    for name in ["one", "two"] {
        fs::create_dir(at.join(name)).expect("made");
    }
    let link = at.join("link");
    let turn = |to: &str| {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(at.join(to), &link).expect("a link");
    };
    turn("one");
    fs::write(at.join("a"), "a").expect("written");
    let actions = [
        Action::shell("cp a link/x", &at),
        Action::shell("cat link/x", &at),
        Action::shell("rm link/*", &at),
        Action::shell("cd link && make", &at),
        Action::shell("some-program --to=link/x", &at),
        Action::shell("make", &link),
        Action::ReadFile {
            path: link.join("x"),
        },
        Action::write_file(link.join("x")),
    ];
    for action in &actions {
        let seen = Seen::of(action);
        assert_eq!(seen.check(action), Ok(()), "{action:?}");
        turn("two");
        let found = seen.check_places(action);
        let led = |fault: &Changed| fault.became == Became::Leads;
        assert!(found.as_ref().is_err_and(led), "{action:?}: {found:?}");
        turn("one");
        assert_eq!(seen.check(action), Ok(()), "{action:?}");
    }
    let shown = lines("cp a link/x", &at);
    let expected = format!("writes {0}/link/x, which is {0}/one/x", at.display());
    assert!(shown.contains(&expected), "{shown:?}");
    // A directory that becomes a link is one as well.
    let action = Action::shell("cp a one/x", &at);
    let seen = Seen::of(&action);
    fs::remove_dir(at.join("one")).expect("removed");
    std::os::unix::fs::symlink("two", at.join("one")).expect("a link");
    let changed = seen.check(&action).expect_err("a link");
    let text = changed.to_string();
    assert!(text.contains("one/x was made to lead elsewhere"), "{text}");
}

#[test]
fn a_script_that_was_not_there_must_not_appear() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = fs::canonicalize(directory.path()).expect("a path");
    fs::write(at.join("data"), "data").expect("written");
    let script = at.join("new.sh");
    for text in [
        "bash new.sh",
        "bash new.sh data",
        "./new.sh",
        "sudo sh < new.sh",
        ". ./new.sh",
    ] {
        let action = Action::shell(text, &at);
        let seen = Seen::of(&action);
        assert_eq!(seen.missing, std::slice::from_ref(&script), "{text}");
        let line = format!("runs {}, which is not there", script.display());
        assert!(seen.lines().contains(&line), "{text}");
        fs::write(&script, "true").expect("written");
        let appeared = Changed {
            path: script.clone(),
            became: Became::Appeared,
        };
        assert_eq!(seen.check(&action), Err(appeared), "{text}");
        fs::remove_file(&script).expect("removed");
        assert_eq!(seen.check(&action), Ok(()), "{text}");
    }
    for text in [
        "cargo build",
        "python3 -c 'print(1)'",
        "sed s/a/b/ data",
        "bash -c 'ls x'",
    ] {
        let missing = Seen::of(&Action::shell(text, &at)).missing;
        assert!(missing.is_empty(), "{text}: {missing:?}");
    }
}

#[test]
fn a_program_that_comes_first_by_now_is_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = fs::canonicalize(directory.path()).expect("a path");
    let mut exec = crate::action::Exec::plain(vec!["reboot".into()], "/");
    let path = format!("{}:/usr/bin:/usr/sbin:/bin", at.display());
    exec.env.insert("PATH".into(), path);
    let action = Action::Exec(exec);
    let seen = Seen::of(&action);
    assert_eq!(seen.check(&action), Ok(()));
    fs::write(at.join("reboot"), "evil").expect("written");
    assert!(seen.check(&action).is_err());
}

#[test]
fn code_that_nobody_looked_at_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = fs::canonicalize(directory.path()).expect("a path");
    for name in ["a.sh", "x.py"] {
        fs::write(at.join(name), name).expect("written");
    }
    fs::create_dir(at.join("package")).expect("made");
    let unseen = |text: &str| Seen::of(&Action::shell(text, &at)).unseen;
    for text in [
        "bash $F",
        "bash a.s?",
        "cat a.sh | bash",
        "cat a.sh | bash -s -- x",
        "cat x.py | python3",
        "cat x.py | python3 - x",
        "bash <(cat a.sh)",
        "bash < $F",
        "bash -c \"$X\"",
        "eval \"$X\"",
        "$CMD x",
        ". $F",
        "python3 -W ignore $F",
        "awk -f $F a.sh",
        "python3 package",
    ] {
        assert_eq!(unseen(text).len(), 1, "{text}: {:?}", unseen(text));
        let line = lines(text, &at).pop().expect("a line");
        assert!(
            line.starts_with("runs code that was not looked at: "),
            "{line}"
        );
    }
    for text in [
        "bash a.sh \"$1\"",
        "bash < a.sh",
        "cat a.sh | python3 x.py",
        "echo ls | bash",
        "bash --version",
        "ls | python3 -c 'print(1)'",
        "python3 -W ignore x.py",
        "sed s/a/b/ a.sh",
        "ls -l",
        "cat a.sh | sed p",
    ] {
        assert_eq!(unseen(text), [""; 0], "{text}");
    }
}
