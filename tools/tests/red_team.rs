//! Lists of commands against the ready profiles.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use fazai_tools::{Action, Caller, Decision, Policy, READY_PROFILES, User, Verdict};
use jiff::civil::{DateTime, date};

fn decide(policy: &Policy, profile: &str, command: &str) -> Decision {
    let caller = Caller::User(User {
        uid: 1000,
        groups: vec![1000],
        name: "anna".into(),
    });
    policy.decide_as(
        profile,
        &caller,
        &Action::shell(command, "/home/anna"),
        noon(),
    )
}

fn noon() -> DateTime {
    date(2026, 6, 1).at(12, 0, 0, 0)
}

/// The commands of a file, which has at least so many, with their line numbers.
fn commands(text: &str, least: usize) -> Vec<(usize, &str)> {
    let lines = text
        .split('\n')
        .enumerate()
        .map(|(at, line)| (at + 1, line));
    let commands: Vec<_> = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert!(commands.len() >= least, "{} commands", commands.len());
    commands
}

#[test]
fn no_profile_allows_what_is_dangerous() {
    none_allows(
        &READY_PROFILES,
        &commands(include_str!("dangerous.txt"), 200),
    );
}

#[test]
fn only_privileged_allows_what_people_must_mean() {
    let profiles = ["restricted", "standard", "elevated"];
    none_allows(&profiles, &commands(include_str!("privileged.txt"), 20));
}

fn none_allows(profiles: &[&str], commands: &[(usize, &str)]) {
    let policy = Policy::parse("").expect("an empty policy");
    let mut failures = Vec::new();
    for (line, command) in commands {
        for profile in profiles {
            let decision = decide(&policy, profile, command);
            if decision.verdict == Verdict::Allow {
                failures.push(format!(
                    "line {line}, {profile}: {command:?} is allowed by {}",
                    decision.rule
                ));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// What people do on purpose now and then is never denied outright.
#[test]
fn what_people_may_mean_is_asked_for() {
    let policy = Policy::parse("").expect("an empty policy");
    for command in [
        "chmod 2775 dir",
        "chmod g+s dir",
        "mkdir -m 2775 dir",
        "git pull https://example.com/x.git main",
        "cat /var/lib/docker/containers/x/config.v2.json",
        "sudo tar xzf a.tgz -C /srv",
        "sudo -i ls",
        "docker compose up -d",
    ] {
        let decision = decide(&policy, "elevated", command);
        assert_eq!(decision.verdict, Verdict::Ask, "{command}: {decision:?}");
    }
}

#[test]
fn daily_work_is_allowed() {
    let policy = Policy::parse("").expect("an empty policy");
    let mut failures = Vec::new();
    for (line, command) in commands(include_str!("harmless.txt"), 200) {
        let decision = decide(&policy, "elevated", command);
        if decision.verdict != Verdict::Allow {
            failures.push(format!(
                "line {line}: {command:?}: {} by {}: {}",
                decision.verdict, decision.rule, decision.reason
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
}
