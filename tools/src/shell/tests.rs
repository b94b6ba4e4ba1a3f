use super::*;

/// The commands as text, one after another.
#[track_caller]
fn commands(text: &str) -> Vec<String> {
    let script = Script::parse(text).expect("a text within the limits");
    script.commands.iter().map(Command::display).collect()
}

/// A text that is wholly understood, and what it runs.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let script = Script::parse(text).expect("a text within the limits");
    assert_eq!(script.opaque, Vec::new(), "{text}");
    assert_eq!(commands(text), expected, "{text}");
}

#[track_caller]
fn check_opaque(text: &str) {
    let script = Script::parse(text).expect("a text within the limits");
    assert!(!script.opaque.is_empty(), "{text}: {:?}", script.commands);
}

#[test]
fn quotes_are_removed() {
    for text in [
        "rm -rf /",
        "r''m -rf  /",
        r"\rm -rf /",
        r#""rm" "-r"f '/'"#,
        r"$'\x72m' -rf /",
        r"$'\162\u006d' -rf /",
        "rm \\\n -rf /",
        "r\\\nm -rf /",
        "rm -rf / # a comment",
        "\n\nrm -rf /\n",
    ] {
        check(text, &["rm -rf /"]);
    }
}

#[test]
fn every_place_of_the_tree_is_walked() {
    check("a; b && c || d & e | f", &["a", "b", "c", "d", "e", "f"]);
    check("(a; { b; })", &["a", "b"]);
    check(
        "if a; then b; elif c; then d; else e; fi",
        &["a", "b", "c", "d", "e"],
    );
    check(
        "while a; do b; done; until c; do d; done",
        &["a", "b", "c", "d"],
    );
    check("for i in 1 2; do a; done", &["a"]);
    check("case x in y) a;; *) b;; esac", &["a", "b"]);
    check("f() { a; }; f", &["a", "f"]);
    check("! a", &["a"]);
    check("time a", &["a"]);
    check(
        "a $(b) `c` \"$(d)\"",
        &["b", "c", "d", "a $(b) `c` \"$(d)\""],
    );
    check("a <(b) >(c)", &["b", "c", "a <(...) <(...)"]);
    check("x=$(a)", &["a"]);
    check("x=$(a) b", &["a", "b"]);
    check("[[ -f $(a) ]]", &["a"]);
    check("a > $(b)", &["b", "a"]);
    check(
        "echo \"$(echo `a`)\"",
        &["a", "echo `a`", "echo \"$(echo `a`)\""],
    );
}

#[test]
fn redirections_are_files() {
    let script = Script::parse("a < in > out 2>> log 2>&1 &> both <> rw").expect("valid");
    let texts = |words: &[Word]| {
        words
            .iter()
            .map(|word| word.text().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&script.commands[0].reads), ["in", "rw"]);
    assert_eq!(
        texts(&script.commands[0].writes),
        ["out", "log", "both", "rw"]
    );
    let alone = Script::parse("> /etc/passwd").expect("valid");
    assert_eq!(texts(&alone.commands[0].writes), ["/etc/passwd"]);
    let group = Script::parse("{ a; } > /etc/passwd").expect("valid");
    assert_eq!(texts(&group.commands[0].writes), ["/etc/passwd"]);
}

#[test]
fn wrappers_are_unwrapped() {
    for wrapper in [
        "sudo",
        "sudo -u root",
        "sudo -nH --user=root",
        "doas",
        "env",
        "env -i A=1",
        "env -u PATH --",
        "nohup",
        "nice -n 5",
        "nice -10",
        "ionice -c2 -n7",
        "timeout 5",
        "timeout -k 5 10s",
        "setsid -f",
        "stdbuf -oL",
        "command",
        "command -p",
        "exec",
        "exec -a x",
        "builtin",
        "time -p",
        "busybox",
        "chroot /mnt",
        "nsenter -t 1 -m",
        "unshare -r",
        "systemd-run --unit=x",
        "sudo env nice -n 5 timeout 5",
        "taskset 1",
        "flock /tmp/l",
        "find . -exec",
        "xargs",
        "xargs -0 -I{} -n1",
    ] {
        let text = format!("{wrapper} rm -rf /");
        let commands = commands(&text);
        assert!(
            commands
                .iter()
                .any(|command| command.starts_with("rm -rf /")),
            "{text}: {commands:?}"
        );
    }
    for text in [
        "sh -c 'rm -rf /'",
        "bash -ec \"rm -rf /\"",
        "su -c 'rm -rf /'",
        "watch 'rm -rf /'",
        "watch rm -rf /",
        "eval rm -rf /",
        "echo 'rm -rf /' | sh",
        "bash <<< 'rm -rf /'",
        "bash <<E\nrm -rf /\nE",
        "ssh host rm -rf /",
        "env -S 'rm -rf /'",
        "trap 'rm -rf /' EXIT",
        "su root -c 'rm -rf /'",
    ] {
        let commands = commands(text);
        assert!(
            commands.iter().any(|command| command == "rm -rf /"),
            "{text}: {commands:?}"
        );
    }
}

#[test]
fn find_runs_what_it_says() {
    check(
        "find /var -name '*.gz' -delete",
        &["find /var -name *.gz", "rm -r /var/**/*.gz"],
    );
    check(
        "find . -exec grep -l x {} + -print",
        &["find . -print", "grep -l x ./**"],
    );
    check(
        "find . -type f | xargs wc -l",
        &["find . -type f", "xargs", "wc -l ..."],
    );
}

#[test]
fn what_is_unknown_is_opaque() {
    for text in [
        "$(echo rm) x",
        "$CMD",
        "eval ls",
        "source x",
        ". x",
        "r? x",
        "*",
        "{rm,-rf,/}",
        "$'\\c' x",
        "rм x",
        "\u{ff52}m x",
        "python3 -c 1",
        "perl -e 1",
        "sh x.sh",
        "./x",
        "../bin/x",
        "/tmp/x",
        "curl x | sh",
        "base64 -d x | bash",
        "LD_PRELOAD=x ls",
        "PATH=. ls",
        "env PATH=. ls",
        "export PATH=.",
        "vim -c '!x'",
        "tar cf x --checkpoint-action=exec=y z",
        "tar cIf x y",
        "git -c core.pager=x log",
        "/lib64/ld-linux-x86-64.so.2 /bin/x",
        "x=1 $((a[0]))",
        "x=$1; echo $((x))",
        "echo $((x[0]))",
        "read x; echo $((x))",
        "let x=1",
        "${x@P}",
        "echo ${!x}",
        "echo ${x[$(id)]}",
        "ls\u{200b}",
        "ls \u{202e}x",
        "echo \u{1b}[2J",
        "alias ls=x",
        "sed 's/a/b/e' x",
        "sed '1e id' x",
        "sed -n 'w /etc/x' y",
        "sed -f x y",
        "sort --compress-program=x y",
        "ssh host ls",
        "if",
        "'",
        "a )",
        "(a",
        "a <<",
        "cat <<E\n$(id)\nE",
        "su",
        "sudo -s",
        "sudo --unknown ls",
        "xargs sh",
        "at now",
        "echo ~$(id)",
        "echo $[1+1]",
        "read 'a[$(id)]'",
        "[[ -v a[$(id)] ]]",
        "a[$(id)]=1",
        "nsenter -t1 -a",
        "find . -exec sh {} ;",
    ] {
        check_opaque(text);
    }
}

#[test]
fn daily_work_is_understood() {
    for text in [
        "i=1; i=$((i + 1)); echo $(($i * 2))",
        "cp a{,.bak}",
        "df -h | sort -k5 | tail -n 3",
        "ls *.log",
        "grep -r 'a*b' /etc/nginx",
        "echo \"$HOME ($(date))\"",
        "env",
        "sed -n '1,20p' x",
        "sed -i 's/a/b/g' x",
        "tar czf /tmp/a.tgz /etc/nginx",
        "git log --oneline",
        "python3 --version",
        "command -v ls",
        "LANG=C ls",
        "x=1; echo $x",
        "echo $((1 + 2))",
        "sudo systemctl restart nginx",
        "test -f x && echo yes",
        "[ -d /etc ]",
    ] {
        let script = Script::parse(text).expect("valid");
        assert_eq!(script.opaque, Vec::new(), "{text}");
    }
}

#[test]
fn limits_hold() {
    let refused = |text: &str| Script::parse(text).expect_err("over the limit");
    assert_eq!(
        refused(&"x".repeat(1 << 20)),
        Refused::TooLong { bytes: 1 << 20 }
    );
    assert_eq!(refused("ls \0"), Refused::Nul);
    assert_eq!(refused(""), Refused::Empty);
    assert_eq!(refused("  \n"), Refused::Empty);
    assert_eq!(refused(&"(".repeat(100)), Refused::TooDeep);
    assert_eq!(refused(&"a;".repeat(COMMANDS_MAX + 1)), Refused::TooMany);
    assert_eq!(refused(&"env ".repeat(100)), Refused::TooDeep);
    assert_eq!(refused(&"${a}".repeat(2000)), Refused::TooTangled);
    let cases = "case a in a) ".repeat(20) + "x " + &"esac ".repeat(20);
    assert_eq!(refused(&cases), Refused::TooTangled);
    let open = "( ".repeat(15);
    assert_eq!(refused(&format!("(( {open}")), Refused::TooDeep);
    let open = "( ')' ".repeat(100);
    assert_eq!(refused(&format!("(( {open}")), Refused::TooTangled);
    assert_eq!(refused(&format!("[[ a =~ {open} ]]")), Refused::TooTangled);
    assert_eq!(refused(&"if ".repeat(5000)), Refused::TooMany);
    // The same text for many shells.
    let (shells, many) = ("sh;".repeat(200), "$()".repeat(1000));
    assert_eq!(
        refused(&format!("{{ {shells} }} <<E\n{many}\nE\n")),
        Refused::TooMany
    );
    let argv = vec!["ls".to_owned(), "x".repeat(1 << 20)];
    assert_eq!(
        Script::from_argv(&argv).expect_err("too long"),
        Refused::TooLong {
            bytes: (1 << 20) + 4
        }
    );
}

#[test]
fn a_million_small_arguments_are_too_long() {
    for arg in ["", "x", "'"] {
        let argv = std::iter::once("ls").chain(std::iter::repeat_n(arg, 1 << 20));
        let argv: Vec<String> = argv.map(str::to_owned).collect();
        assert!(matches!(
            Script::from_argv(&argv),
            Err(Refused::TooLong { .. })
        ));
    }
    let text = format!("ls {}", "x ".repeat(1 << 19));
    assert!(matches!(Script::parse(&text), Err(Refused::TooLong { .. })));
}

#[test]
fn a_nul_is_refused_wherever_it_stands() {
    for text in ["\0", "\0ls", "l\0s", "ls '\0'", "ls # \0", "ls <<E\n\0\nE"] {
        assert_eq!(Script::parse(text).err(), Some(Refused::Nul), "{text:?}");
    }
    for argv in [["l\0s", "x"], ["ls", "\0"], ["sh", "-c\0ls"]] {
        let argv = argv.map(str::to_owned);
        assert_eq!(
            Script::from_argv(&argv).err(),
            Some(Refused::Nul),
            "{argv:?}"
        );
    }
}

#[test]
fn letters_that_look_like_others_make_no_program() {
    for text in [
        "\u{0455}udo ls",     // Cyrillic dze
        "l\u{0455} x",        // the same, at the end
        "\u{ff4c}\u{ff53} x", // full width
        "ls\u{00a0}x",        // a space that splits no words
        "ls\u{3000}x",        // an ideographic one
        "\u{feff}ls x",       // a byte order mark
        "l\u{00ad}s x",       // a soft hyphen
        "l\u{200d}s x",       // a joiner
        "\u{202d}ls x",       // an override of the direction
        "ls\u{037e} rm x",    // a Greek question mark, which looks like a semicolon
    ] {
        check_opaque(text);
        let argv: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let script = Script::from_argv(&argv).expect("short");
        assert!(!script.opaque.is_empty(), "{argv:?}");
    }
    // What looks like a dash or a slash is a letter of a name.
    let script = Script::parse("rm \u{2013}rf \u{2215}").expect("short");
    assert!(crate::blocked(&script, "/work").is_none());
}

#[test]
fn quotes_without_an_end_are_never_understood() {
    for text in [
        "'",
        "\"",
        "`",
        "ls 'x",
        "ls \"x",
        "ls `x",
        "ls $(x",
        "ls ${x",
        "ls $((1",
        "ls \\",
        "'ls' 'x",
        "ls \"$(x\"",
        "ls \"'",
        "ls '\"",
        "sh -c 'ls \"x'",
        "{ ls",
        "( ls",
        "ls )",
        "ls }; }",
        "ls <<'E",
        "case x in",
    ] {
        let script = Script::parse(text);
        let understood = script.is_ok_and(|script| script.opaque.is_empty());
        assert!(!understood, "{text:?}");
    }
}

#[test]
fn a_fork_bomb_is_seen() {
    for text in [
        ":(){ :|:& };:",
        "bomb() { bomb | bomb & }; bomb",
        "f() { f & f & }; f",
        "f(){ f& }; f",
    ] {
        assert!(Script::parse(text).expect("valid").fork_bomb, "{text}");
    }
    assert!(
        !Script::parse("f() { sleep 1 & }; f; f")
            .expect("valid")
            .fork_bomb
    );
}

#[test]
fn a_plain_command_needs_no_shell() {
    let plain = |text: &str| Script::parse(text).expect("valid").plain_argv();
    assert_eq!(
        plain("ls -l 'a b'"),
        Some(vec!["ls".into(), "-l".into(), "a b".into()])
    );
    for text in [
        "ls *", "ls ~", "ls | wc", "ls > x", "sudo ls", "ls $x", "cd x; ls",
    ] {
        assert_eq!(plain(text), None, "{text}");
    }
}

#[test]
fn a_comment_hides_no_line() {
    for text in ["echo hi # \\\nrm -rf /", "true #\\\n!"] {
        let script = Script::parse(text).expect("short");
        assert!(!script.opaque.is_empty(), "{text:?}");
    }
}

#[track_caller]
fn check_files(text: &str, expected: &[(Access, &str)]) {
    let script = Script::parse(text).expect("a text within the limits");
    let expected: Vec<(Access, String)> = expected
        .iter()
        .map(|(access, path)| (*access, (*path).to_owned()))
        .collect();
    assert_eq!(files_of(&script), expected, "{text}");
}

#[test]
fn people_are_told_the_files_and_nothing_else() {
    use Access::{Read, ReadTree, Write};
    check_files("systemctl restart nginx", &[]);
    check_files("echo hello world", &[]);
    check_files("df -h /srv", &[(Read, "/srv")]);
    check_files("grep -i 'a b' x", &[(Read, "x")]);
    check_files("grep -r 'a b' /etc", &[(ReadTree, "/etc")]);
    check_files(
        "tail -n 5 /var/log/syslog | sort -k 2",
        &[(Read, "/var/log/syslog")],
    );
    check_files("find /var -name '*.log' -size +5", &[(Read, "/var")]);
    check_files("cp a b", &[(Read, "a"), (Write, "b")]);
    check_files("cp -r a b/", &[(ReadTree, "a"), (Write, "b/")]);
    check_files("mv a b", &[(Write, "a"), (Write, "b")]);
    check_files("ln a b", &[(Write, "a"), (Write, "b")]);
    check_files("ln -s a b", &[(Read, "a"), (Write, "b")]);
    check_files("sed -n 1,5p x", &[(Read, "x")]);
    check_files("sed -i s/a/b/ x", &[(Write, "x")]);
    check_files("dd if=a of=b bs=1M", &[(Read, "a"), (Write, "b")]);
    check_files(
        "tar czf a.tgz b c",
        &[(ReadTree, "b"), (ReadTree, "c"), (Write, "a.tgz")],
    );
    check_files(
        "tar -x -f a.tgz -C /srv b",
        &[(ReadTree, "a.tgz"), (Write, "/srv")],
    );
    check_files(
        "tar cgf s a.tar b",
        &[(ReadTree, "b"), (Write, "a.tar"), (Write, "s")],
    );
    check_files("tar tf a.tar", &[(ReadTree, "a.tar")]);
    check_files("unzip -q a.zip -d b", &[(Read, "a.zip"), (Write, "b")]);
    check_files(
        "sort -o b a; cat b",
        &[(Read, "a"), (Write, "b"), (Read, "b")],
    );
    check_files(
        "cat < a > b 2>&1; cat a - <<< x",
        &[(Read, "a"), (Write, "b")],
    );
    check_files(
        "sudo rm -f x $f *.log",
        &[(Write, "x"), (Write, "$f"), (Write, "*.log")],
    );
    check_files("ls | xargs rm", &[]);
}
