use jiff::civil::date;

use super::*;
use crate::action::{Exec, Input, Kind, Right, ToolCall};
use crate::caller::User;

fn anna() -> Caller {
    Caller::User(User {
        uid: 1000,
        groups: vec![1000, 27],
        name: "anna".into(),
    })
}

fn at(hour: i8) -> DateTime {
    date(2026, 6, 1).at(hour, 30, 0, 0)
}

fn policy(text: &str) -> Policy {
    Policy::parse(text).expect("a valid policy")
}

/// A policy whose only profile has these rules.
fn rules(text: &str) -> Policy {
    policy(&format!(
        "default_profile = \"p\"\n[profiles.p]\nopaque = \"ask\"\n{text}"
    ))
}

#[track_caller]
fn check(policy: &Policy, action: &Action, verdict: Verdict, rule: &str) {
    let decision = policy.decide(&anna(), action, at(12));
    assert_eq!(
        (decision.verdict, decision.rule.as_str()),
        (verdict, rule),
        "{action:?}: {}",
        decision.reason
    );
}

fn shell(text: &str) -> Action {
    Action::shell(text, "/home/anna")
}

fn write(path: &str) -> Action {
    Action::write_file(path)
}

fn read(path: &str) -> Action {
    Action::ReadFile { path: path.into() }
}

#[test]
fn a_typo_refuses_the_file_with_its_place() {
    for (text, line, column, part) in [
        ("defalt_profile = \"standard\"", 1, 1, "defalt_profile"),
        (
            "\n[[callers]]\nuid = 1\nprofil = \"standard\"",
            4,
            1,
            "profil",
        ),
        (
            "[profiles.p]\n[[profiles.p.rules]]\nname = \"x\"\ndecision = \"alow\"\nactions = [\"exec\"]",
            4,
            12,
            "alow",
        ),
        (
            "[profiles.p]\n[[profiles.p.rules]]\nname = \"x\"\ndecision = \"allow\"\nactions = [\"run\"]",
            5,
            12,
            "run",
        ),
        ("é = [", 1, 6, ""),
        (
            "[profiles.p]\n[[profiles.p.rules]]\nname = \"x\"\ndecision = \"allow\"\nactions = [\"block_address\"]\nnetworks = [\"10.0.0.0/40\"]",
            6,
            13,
            "",
        ),
    ] {
        match Policy::parse(text) {
            Err(PolicyError::Syntax {
                line: l,
                column: c,
                message,
            }) => {
                assert_eq!((l, c), (line, column), "{text}: {message}");
                assert!(message.contains(part), "{message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let rule = |fields: &str| {
        format!("[profiles.p]\n[[profiles.p.rules]]\nname = \"x\"\ndecision = \"allow\"\n{fields}")
    };
    for (text, part) in [
        (
            "default_profile = \"nobody\"".to_owned(),
            "no profile `nobody`",
        ),
        (
            "[[callers]]\nuid = 1\nprofile = \"x\"".into(),
            "no profile `x`",
        ),
        (
            "[[callers]]\nuid = 1\ngroup = 1\nprofile = \"standard\"".into(),
            "just one of",
        ),
        ("[[callers]]\nprofile = \"standard\"".into(), "just one of"),
        ("[profiles.standard]".into(), "built in"),
        ("[profiles.p]\nextends = \"q\"".into(), "no profile `q`"),
        (
            "[profiles.p]\nextends = \"q\"\n[profiles.q]\nextends = \"p\"".into(),
            "extends itself",
        ),
        ("[profiles.p]\nopaque = \"allow\"".into(), "not \"allow\""),
        (
            "[profiles.p]\notherwise = \"allow\"".into(),
            "not \"allow\"",
        ),
        (rule("actions = []"), "no actions"),
        (
            rule("actions = [\"read_file\"]\nprograms = [\"ls\"]"),
            "`programs` does not fit",
        ),
        (
            rule("actions = [\"exec\", \"network\"]\nhosts = [\"x\"]"),
            "`hosts` does not fit",
        ),
        (
            rule("actions = [\"exec\"]\nhours = \"8 to 6\""),
            "no span of hours",
        ),
        (rule("actions = [\"exec\"]\nprograms = [\"[\"]"), "unclosed"),
        (rule("actions = [\"exec\"]\ncallers = [{}]"), "just one of"),
        ("#".repeat(POLICY_BYTES_MAX + 1), "bytes"),
    ] {
        let error = Policy::parse(&text).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_caller_has_the_first_profile_that_fits() {
    let policy = policy(
        "default_profile = \"restricted\"\n[[callers]]\nuid = 0\nprofile = \"privileged\"\n[[callers]]\ngroup = 27\nprofile = \"elevated\"\n\
         [[callers]]\nuid = 1000\nprofile = \"standard\"\n[[callers]]\ntoken = \"laptop\"\nprofile = \"standard\"",
    );
    assert_eq!(policy.profile_of(&anna()), Some("elevated"));
    assert_eq!(
        policy.profile_of(&Caller::Token("laptop".into())),
        Some("standard")
    );
    assert_eq!(
        policy.profile_of(&Caller::Token("other".into())),
        Some("restricted")
    );
    check(
        &Policy::parse("").expect("empty"),
        &shell("df"),
        Verdict::Deny,
        "no-profile",
    );
}

#[test]
fn deny_comes_before_ask_before_allow() {
    let policy = rules(
        "[[profiles.p.rules]]\nname = \"all\"\ndecision = \"allow\"\nactions = [\"exec\"]\n\
         [[profiles.p.rules]]\nname = \"ask\"\ndecision = \"ask\"\nactions = [\"exec\"]\nprograms = [\"a\", \"b\"]\n\
         [[profiles.p.rules]]\nname = \"no\"\ndecision = \"deny\"\nactions = [\"exec\"]\nprograms = [\"b\"]",
    );
    check(&policy, &shell("c"), Verdict::Allow, "p/all");
    check(&policy, &shell("c; a"), Verdict::Ask, "p/ask");
    check(&policy, &shell("c | a | b"), Verdict::Deny, "p/no");
    check(
        &policy,
        &shell("mkfs /dev/sda"),
        Verdict::Deny,
        "blocked/format",
    );
    check(&policy, &shell("$X"), Verdict::Ask, "p/opaque");
    check(&policy, &read("/x"), Verdict::Deny, "p/otherwise");
}

#[test]
fn hours_and_callers_limit_a_rule() {
    let policy = rules(
        "[[profiles.p.rules]]\nname = \"day\"\ndecision = \"allow\"\nactions = [\"exec\"]\nhours = \"08:00-18:00\"\nprograms = [\"a\", \"bash\"]\n\
         [[profiles.p.rules]]\nname = \"night\"\ndecision = \"allow\"\nactions = [\"exec\"]\nhours = \"22:00-06:00\"\nprograms = [\"b\", \"bash\"]\n\
         [[profiles.p.rules]]\nname = \"root\"\ndecision = \"allow\"\nactions = [\"exec\"]\ncallers = [{ uid = 0 }]",
    );
    let verdict = |text: &str, hour| policy.decide(&anna(), &shell(text), at(hour)).verdict;
    assert_eq!(
        [
            verdict("a", 7),
            verdict("a", 8),
            verdict("a", 17),
            verdict("a", 18)
        ],
        [Verdict::Deny, Verdict::Allow, Verdict::Allow, Verdict::Deny]
    );
    assert_eq!(
        [verdict("b", 23), verdict("b", 5), verdict("b", 6)],
        [Verdict::Allow, Verdict::Allow, Verdict::Deny]
    );
}

#[test]
fn paths_are_judged_by_where_they_lead() {
    let text = "[[profiles.p.rules]]\nname = \"tmp\"\ndecision = \"allow\"\nactions = [\"read_file\", \"write_file\"]\npaths = [\"/tmp/**\"]\n\
        [[profiles.p.rules]]\nname = \"run\"\ndecision = \"allow\"\nactions = [\"exec\"]";
    let policy = rules(text);
    check(&policy, &write("/tmp/x"), Verdict::Allow, "p/tmp");
    check(
        &policy,
        &write("/tmp/../srv/x"),
        Verdict::Deny,
        "p/otherwise",
    );
    check(&policy, &write("tmp/x"), Verdict::Deny, "bad-path");
    check(&policy, &write("/tmp/\u{1b}x"), Verdict::Deny, "bad-path");
    check(
        &policy,
        &write("/etc/./shadow"),
        Verdict::Deny,
        "blocked/write-accounts",
    );
    check(
        &policy,
        &shell("cat /tmp/../srv/x"),
        Verdict::Deny,
        "p/otherwise",
    );
    check(&policy, &shell("echo x > /tmp/a"), Verdict::Allow, "p/run");
    check(
        &policy,
        &shell("cd /srv; echo x > a"),
        Verdict::Deny,
        "p/otherwise",
    );
    let linked = rules(text).with_real_path(Box::new(|path| {
        let real = path
            .to_str()?
            .replace("/tmp/link", "/etc/shadow")
            .replace("/tmp/out", "/srv/x");
        Some(real.into())
    }));
    check(
        &linked,
        &write("/tmp/link"),
        Verdict::Deny,
        "blocked/write-accounts",
    );
    check(&linked, &read("/tmp/out"), Verdict::Deny, "p/otherwise");
    check(
        &linked,
        &shell("tee /tmp/link"),
        Verdict::Deny,
        "blocked/write-accounts",
    );
    check(&linked, &write("/tmp/x"), Verdict::Allow, "p/tmp");
}

#[test]
fn each_kind_has_its_fields() {
    let policy = Policy::ready("elevated");
    for (action, verdict) in [
        (
            Action::Network {
                host: "example.com".into(),
                port: 443,
            },
            Verdict::Allow,
        ),
        (
            Action::Network {
                host: "example.com".into(),
                port: 25,
            },
            Verdict::Ask,
        ),
        (
            Action::BlockAddress {
                address: "203.0.113.7".parse().expect("an address"),
                prefix: None,
                ttl_s: 3600,
            },
            Verdict::Allow,
        ),
        (
            Action::BlockAddress {
                address: "203.0.113.7".parse().expect("an address"),
                prefix: None,
                ttl_s: 1 << 40,
            },
            Verdict::Ask,
        ),
        (
            Action::BlockAddress {
                address: "127.0.0.1".parse().expect("an address"),
                prefix: None,
                ttl_s: 60,
            },
            Verdict::Deny,
        ),
        (
            Action::BlockAddress {
                address: "::1".parse().expect("an address"),
                prefix: None,
                ttl_s: 60,
            },
            Verdict::Deny,
        ),
        (
            // A part of it is this machine.
            Action::BlockAddress {
                address: "126.0.0.0".parse().expect("an address"),
                prefix: Some(7),
                ttl_s: 60,
            },
            Verdict::Deny,
        ),
        (
            Action::BlockAddress {
                address: "203.0.113.0".parse().expect("an address"),
                prefix: Some(24),
                ttl_s: 60,
            },
            Verdict::Allow,
        ),
        (
            Action::BlockAddress {
                address: "203.0.113.0".parse().expect("an address"),
                prefix: Some(33),
                ttl_s: 60,
            },
            Verdict::Deny,
        ),
        (
            Action::InstallPackage {
                name: "nginx".into(),
                exec: None,
            },
            Verdict::Allow,
        ),
        (
            Action::InstallPackage {
                name: "./x.deb".into(),
                exec: None,
            },
            Verdict::Deny,
        ),
        (
            Action::InstallPackage {
                name: "--purge".into(),
                exec: None,
            },
            Verdict::Deny,
        ),
        (
            Action::ServiceControl {
                unit: "nginx.service".into(),
                verb: "restart".into(),
            },
            Verdict::Allow,
        ),
        (
            Action::ServiceControl {
                unit: "nginx".into(),
                verb: "stop".into(),
            },
            Verdict::Ask,
        ),
        (
            Action::ServiceControl {
                unit: "auditd".into(),
                verb: "stop".into(),
            },
            Verdict::Deny,
        ),
        (
            Action::ServiceControl {
                unit: "/tmp/x.service".into(),
                verb: "start".into(),
            },
            Verdict::Deny,
        ),
        (
            Action::SendToCloud {
                provider: "openai".into(),
                label: "public".into(),
                redacted: BTreeMap::new(),
            },
            Verdict::Allow,
        ),
        (
            Action::SendToCloud {
                provider: "openai".into(),
                label: "private".into(),
                redacted: BTreeMap::new(),
            },
            Verdict::Ask,
        ),
        (
            Action::WriteMemory {
                collection: "kb".into(),
            },
            Verdict::Allow,
        ),
        (Action::LoadModule { name: "x".into() }, Verdict::Allow),
    ] {
        let decision = policy.decide(&anna(), &action, at(12));
        assert_eq!(decision.verdict, verdict, "{action:?}: {decision:?}");
    }
}

#[test]
fn bad_commands_are_denied() {
    let policy = Policy::ready("privileged");
    let exec = |argv: &[&str], cwd: &str| {
        Action::Exec(Exec {
            argv: argv.iter().map(|arg| (*arg).into()).collect(),
            cwd: cwd.into(),
            env: BTreeMap::new(),
            stdin: None,
        })
    };
    check(
        &policy,
        &exec(&["ls"], "tmp"),
        Verdict::Deny,
        "bad-directory",
    );
    check(&policy, &exec(&[], "/"), Verdict::Deny, "refused");
    check(
        &policy,
        &exec(&["ls", "a\0b"], "/"),
        Verdict::Deny,
        "refused",
    );
    check(
        &policy,
        &exec(&["ls", &"x".repeat(1 << 20)], "/"),
        Verdict::Deny,
        "refused",
    );
    check(
        &policy,
        &exec(&["rm", "-rf", "*"], "/"),
        Verdict::Ask,
        "privileged/whole-trees",
    );
    check(
        &policy,
        &exec(&["rm", "-rf", "."], "/"),
        Verdict::Deny,
        "blocked/remove-system",
    );
    let mut with_env = Exec {
        argv: vec!["ls".into()],
        cwd: "/".into(),
        env: BTreeMap::new(),
        stdin: None,
    };
    with_env.env.insert("LD_PRELOAD".into(), "/tmp/x.so".into());
    check(
        &policy,
        &Action::Exec(with_env),
        Verdict::Ask,
        "privileged/opaque",
    );
}

#[test]
fn a_variable_that_is_calculated_with_is_given_a_number() {
    let policy = Policy::ready("elevated");
    for (value, verdict) in [("5", Verdict::Allow), ("a[$(id)]", Verdict::Ask)] {
        let action = Action::Exec(Exec {
            argv: ["bash", "-c", "echo $((i + 1))"].map(str::to_owned).into(),
            cwd: "/".into(),
            env: BTreeMap::from([("i".into(), value.into())]),
            stdin: None,
        });
        let decision = policy.decide(&anna(), &action, at(12));
        assert_eq!(decision.verdict, verdict, "{value}: {decision:?}");
    }
}

#[test]
fn the_ready_profiles_open_more_and_more() {
    for (text, verdicts) in [
        ("df -h", ["allow", "allow", "allow", "allow"]),
        (
            "tail -n 5 /var/log/syslog",
            ["deny", "allow", "allow", "allow"],
        ),
        (
            "systemctl restart nginx",
            ["deny", "deny", "allow", "allow"],
        ),
        ("cp a /etc/motd", ["deny", "deny", "ask", "allow"]),
        ("frobnicate", ["deny", "deny", "ask", "allow"]),
        ("python3 -c 1", ["deny", "deny", "ask", "ask"]),
        ("rm -rf build", ["deny", "deny", "ask", "ask"]),
        ("cat /etc/shadow", ["deny", "deny", "deny", "ask"]),
        ("rm -rf /", ["deny", "deny", "deny", "deny"]),
    ] {
        let found = READY_PROFILES.map(|profile| {
            Policy::ready(profile)
                .decide(&anna(), &shell(text), at(12))
                .verdict
                .to_string()
        });
        assert_eq!(found, verdicts, "{text}");
    }
}

#[test]
fn each_kind_of_action_has_a_name_in_the_file() {
    let text = serde_json::to_value(shell("x")).expect("JSON");
    assert_eq!(
        text["action"],
        serde_json::to_value(Kind::Exec).expect("JSON")
    );
}

#[test]
fn a_tool_is_judged_by_its_name_and_its_rights() {
    let call = |rights: &[Right]| {
        Action::CallTool(Box::new(ToolCall {
            name: "geoip_lookup".into(),
            rights: rights.iter().copied().collect(),
            risk: Risk::Low,
            input: Input::of(b"{}"),
            exec: None,
        }))
    };
    let network = [Right::Network].as_slice();
    let change = [Right::Network, Right::Change].as_slice();
    for (profile, rights, verdict) in [
        ("restricted", [].as_slice(), Verdict::Deny),
        ("restricted", change, Verdict::Deny),
        ("standard", &[], Verdict::Allow),
        ("standard", network, Verdict::Ask),
        ("elevated", network, Verdict::Allow),
        ("elevated", change, Verdict::Ask),
        ("privileged", change, Verdict::Allow),
    ] {
        let decision = policy(&format!("default_profile = \"{profile}\"")).decide(
            &anna(),
            &call(rights),
            at(12),
        );
        assert_eq!(
            decision.verdict, verdict,
            "{profile} {rights:?}: {decision:?}"
        );
    }
}

#[test]
fn the_ready_profiles_know_what_built_in_tools_ask_for() {
    let tool = |name: &str| {
        Action::CallTool(Box::new(ToolCall {
            name: name.into(),
            rights: [].into(),
            risk: Risk::Low,
            input: Input::of(b"{}"),
            exec: None,
        }))
    };
    let to = |host: &str, port| Action::Network {
        host: host.into(),
        port,
    };
    let policies = READY_PROFILES.map(Policy::ready);
    let (allow, ask, deny) = (Verdict::Allow, Verdict::Ask, Verdict::Deny);
    for (action, verdicts) in [
        (tool("system_info"), [allow; 4]),
        (tool("disk_usage"), [allow; 4]),
        (tool("processes"), [deny, allow, allow, allow]),
        (tool("ports"), [deny, allow, allow, allow]),
        (to("192.168.1.1", 53), [deny, allow, allow, allow]),
        (to("example.org", 443), [deny, deny, allow, allow]),
        (to("127.0.0.1", 80), [deny, deny, ask, allow]),
        (to("::1", 443), [deny, deny, ask, allow]),
        (to("169.254.169.254", 80), [deny, deny, ask, ask]),
        (
            shell("systemctl list-units --type=service --plain --no-legend"),
            [deny, allow, allow, allow],
        ),
        (
            shell("systemctl show --property=Id,Result nginx"),
            [deny, allow, allow, allow],
        ),
        (
            shell("journalctl --no-pager --output=json --lines=50 --unit=debug --grep=-x"),
            [deny, allow, allow, allow],
        ),
        (shell("service --status-all"), [deny, allow, allow, allow]),
        (shell("apt-cache search nginx"), [deny, allow, allow, allow]),
        (shell("apt list --upgradable"), [deny, allow, allow, allow]),
        (shell("dpkg-query -W"), [deny, allow, allow, allow]),
        (shell("rpm -qa"), [deny, allow, allow, ask]),
        (
            shell("dnf check-update --quiet"),
            [deny, allow, allow, allow],
        ),
        (
            shell("zypper --non-interactive list-updates"),
            [deny, allow, allow, allow],
        ),
        (shell("apk list --installed"), [deny, allow, allow, allow]),
        (shell("pacman -Qu"), [deny, allow, allow, allow]),
        (
            shell("pacman -S --noconfirm nginx"),
            [deny, deny, ask, allow],
        ),
        (
            shell("apt-get install --yes --quiet nginx"),
            [deny, deny, allow, allow],
        ),
        (
            shell("apt-get remove --yes --quiet nginx"),
            [deny, deny, ask, ask],
        ),
    ] {
        let found = policies
            .each_ref()
            .map(|policy| policy.decide(&anna(), &action, at(12)).verdict);
        assert_eq!(found, verdicts, "{action:?}");
    }
}
