use super::*;
use crate::event::Severity;

/// Holds what it is told, as the kernel does; fails when it is told to.
#[derive(Debug, Default)]
struct InMemory {
    held: BTreeMap<(Measure, IpNet), u32>,
    broken: bool,
    no_limits: bool,
}

impl Firewall for InMemory {
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        let limits = changes
            .iter()
            .any(|change| change.measure() != Measure::Block);
        if self.broken || self.no_limits && limits {
            return Err(FirewallError::Refused("broken".to_owned()));
        }
        for change in changes {
            match change {
                Change::Put {
                    measure,
                    net,
                    ttl_s,
                } => self.held.insert((*measure, *net), *ttl_s),
                Change::Remove { measure, net } => self.held.remove(&(*measure, *net)),
            };
        }
        Ok(())
    }

    fn held(&mut self) -> Result<Vec<Held>, FirewallError> {
        let held = self.held.iter();
        Ok(held
            .map(|(&(measure, net), &left_s)| Held {
                measure,
                net,
                left_s,
            })
            .collect())
    }
}

const NOW: Timestamp = Timestamp(1_750_000_000_000_000);

fn block(net: &str, ttl_s: u32) -> Proposal {
    Proposal {
        action: Action::BlockIp {
            net: net.parse().unwrap(),
            ttl_s,
        },
        rule: "guessing".to_owned(),
        weight: (Severity::High, 1),
    }
}

fn live() -> Limits {
    Limits {
        dry_run: false,
        ..Limits::default()
    }
}

fn enforcer(path: &Path, limits: Limits) -> Enforcer<InMemory> {
    let allow = AllowList::new(["192.0.2.0/24".parse().unwrap()]);
    Enforcer::open(path, limits, allow, InMemory::default()).unwrap()
}

fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.jsonl");
    (dir, path)
}

#[test]
fn nothing_is_done_unless_that_is_said() {
    let (_dir, path) = place();
    let mut dry = enforcer(&path, Limits::default());
    assert_eq!(
        dry.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap(),
        Done::DryRun
    );
    assert_eq!((dry.blocks(NOW).count(), dry.firewall().held.len()), (0, 0));
}

#[test]
fn the_allow_list_always_wins() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    for net in [
        "192.0.2.1/32",
        "192.0.0.0/16",
        "127.0.0.1/32",
        "10.0.0.1/32",
        "::1/128",
        "0.0.0.0/0",
        "fe80::1/128",
        "224.0.0.1/32",
    ] {
        let refused = enforcer.act(&block(net, 60), "1", NOW);
        assert!(
            matches!(refused, Err(EnforceError::Allowed { .. })),
            "{net}: {refused:?}"
        );
    }
    // Also when it grows later.
    enforcer.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap();
    let grown = AllowList::new(["8.8.8.0/24".parse().unwrap()]);
    assert_eq!(enforcer.allow(grown, NOW).unwrap(), 1);
    assert!(enforcer.firewall().held.is_empty());
}

#[test]
fn there_are_caps_per_minute_and_in_all() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(
        &path,
        Limits {
            per_minute: 3,
            total: 5,
            ..live()
        },
    );
    let mut made = 0;
    for n in 0..20 {
        // Three each minute, until there are five.
        let now = NOW.plus_s(n * 10);
        let done = enforcer.act(&block(&format!("8.8.{n}.8/32"), 3_600), "1", now);
        match done {
            Ok(_) => made += 1,
            Err(EnforceError::PerMinute(3)) => assert!(n < 9),
            Err(EnforceError::Total(5)) => assert_eq!(made, 5),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(made, 5);
}

#[test]
fn what_nobody_confirms_ends_soon() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    enforcer.act(&block("8.8.8.8/32", 3_600), "1", NOW).unwrap();
    let net: IpNet = "8.8.8.8/32".parse().unwrap();
    // The kernel itself ends it, also if this process is gone.
    assert_eq!(enforcer.firewall().held[&(Measure::Block, net)], 300);
    assert_eq!(enforcer.blocks(NOW.plus_s(301)).count(), 0);
    assert_eq!(
        enforcer.confirm("guessing", 3_600, NOW.plus_s(10)).unwrap(),
        1
    );
    assert_eq!(enforcer.firewall().held[&(Measure::Block, net)], 3_600);
    assert_eq!(enforcer.blocks(NOW.plus_s(3_000)).count(), 1);
    enforcer.act(&block("8.8.9.9/32", 1_800), "2", NOW).unwrap();
    assert_eq!(
        enforcer.firewall().held[&(Measure::Block, "8.8.9.9/32".parse().unwrap())],
        1_800
    );
}

#[test]
fn the_same_again_changes_nothing_and_a_wider_one_takes_its_place() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(
        &path,
        Limits {
            unconfirmed_s: 86_400,
            ..live()
        },
    );
    let first = enforcer.act(&block("8.8.8.8/32", 3_600), "1", NOW).unwrap();
    assert!(matches!(first, Done::Blocked(_)));
    let again = enforcer.act(&block("8.8.8.8/32", 1_800), "2", NOW).unwrap();
    assert!(matches!(again, Done::Already(_)));
    enforcer.act(&block("8.8.8.0/24", 3_600), "3", NOW).unwrap();
    assert_eq!(enforcer.firewall().held.len(), 1);
    let narrow = enforcer.act(&block("8.8.8.9/32", 60), "4", NOW).unwrap();
    assert!(matches!(narrow, Done::Already(_)));
    assert_eq!(enforcer.blocks(NOW).count(), 1);
}

#[test]
fn an_incident_can_be_undone() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    enforcer.act(&block("8.8.8.8/32", 60), "7", NOW).unwrap();
    enforcer.act(&block("8.8.9.9/32", 60), "7", NOW).unwrap();
    enforcer.act(&block("8.8.1.1/32", 60), "8", NOW).unwrap();
    assert_eq!(enforcer.undo_incident("7", NOW).unwrap().len(), 2);
    assert_eq!(enforcer.firewall().held.len(), 1);
    assert!(matches!(
        enforcer.undo(BlockId(99), NOW),
        Err(EnforceError::NoBlock(_))
    ));
}

#[test]
fn the_ledger_survives_and_the_firewall_becomes_what_it_says() {
    let (_dir, path) = place();
    let mut before = enforcer(&path, live());
    before.act(&block("8.8.8.8/32", 300), "1", NOW).unwrap();
    before.act(&block("8.8.9.9/32", 100), "1", NOW).unwrap();
    before.confirm("guessing", 300, NOW).unwrap();
    drop(before);
    // Killed in the middle of a line.
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    io::Write::write_all(&mut file, b"{\"op\":\"add\",\"id\":3,\"ne").unwrap();
    drop(file);
    let mut after = enforcer(&path, live());
    after
        .firewall()
        .held
        .insert((Measure::Block, "9.9.9.9/32".parse().unwrap()), 50);
    let later = NOW.plus_s(100);
    assert_eq!(
        after.reconcile(later).unwrap(),
        Reconciled {
            restored: 2,
            removed: 1
        }
    );
    assert_eq!(
        after.firewall().held[&(Measure::Block, "8.8.8.8/32".parse().unwrap())],
        200
    );
    assert_eq!(after.reconcile(later).unwrap(), Reconciled::default());
    assert_eq!(
        after.reconcile(NOW.plus_s(400)).unwrap(),
        Reconciled {
            restored: 0,
            removed: 2
        }
    );
    // A rule once confirmed stays so.
    after.act(&block("8.8.7.7/32", 1_000), "1", later).unwrap();
    assert_eq!(
        after.firewall().held[&(Measure::Block, "8.8.7.7/32".parse().unwrap())],
        1_000
    );
}

#[test]
fn a_firewall_that_fails_leaves_no_block_in_the_ledger() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    enforcer.firewall().broken = true;
    assert!(matches!(
        enforcer.act(&block("8.8.8.8/32", 60), "1", NOW),
        Err(EnforceError::Firewall(_))
    ));
    assert_eq!(enforcer.blocks(NOW).count(), 0);
}

#[test]
fn a_ledger_has_one_owner_and_damage_is_said() {
    let (_dir, path) = place();
    let first = enforcer(&path, live());
    let allow = AllowList::new([]);
    assert!(Enforcer::open(&path, live(), allow.clone(), InMemory::default()).is_err());
    drop(first);
    std::fs::write(&path, "nonsense\n").unwrap();
    let fault = Enforcer::open(&path, live(), allow, InMemory::default()).unwrap_err();
    assert!(fault.to_string().contains("line 1 is damaged"), "{fault}");
}

#[test]
fn deny_files_have_only_networks_in_them() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    let action = Action::DenyFile {
        net: "8.8.8.8/32".parse().unwrap(),
        ttl_s: 60,
    };
    enforcer
        .act(
            &Proposal {
                action,
                rule: "x\ndeny all;".to_owned(),
                weight: (Severity::High, 1),
            },
            "1",
            NOW,
        )
        .unwrap();
    enforcer.act(&block("8.8.1.1/32", 60), "1", NOW).unwrap();
    let text = deny::render(deny::Reader::Nginx, enforcer.blocks(NOW));
    assert_eq!(
        text.lines().skip(1).collect::<Vec<_>>(),
        ["deny 8.8.8.8/32;"]
    );
    // Whatever blocks here holds both.
    assert_eq!(enforcer.firewall().held.len(), 2);
}

#[test]
fn a_part_of_what_is_blocked_is_blocked() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    enforcer.act(&block("8.8.8.0/24", 60), "1", NOW).unwrap();
    let part = enforcer.act(&block("8.8.8.8/32", 200), "1", NOW).unwrap();
    assert!(matches!(part, Done::Already(_)));
    // When the network's time is over it has one of its own.
    let later = NOW.plus_s(61);
    let part = enforcer.act(&block("8.8.8.8/32", 200), "1", later).unwrap();
    assert!(matches!(part, Done::Blocked(_)));
}

#[test]
fn what_a_failed_change_was_to_replace_holds() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    enforcer.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap();
    enforcer.firewall().broken = true;
    assert!(enforcer.act(&block("8.8.8.0/24", 60), "1", NOW).is_err());
    let blocks: Vec<String> = enforcer.blocks(NOW).map(|it| it.net.to_string()).collect();
    assert_eq!(blocks, ["8.8.8.8/32"]);
    enforcer.firewall().broken = false;
    assert_eq!(enforcer.reconcile(NOW).unwrap(), Reconciled::default());
}

#[test]
fn a_clock_that_is_set_back_makes_no_block_longer() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    let held = |enforcer: &mut Enforcer<InMemory>, now: Timestamp| -> Vec<u32> {
        enforcer.reconcile(now).unwrap();
        enforcer.firewall().held.values().copied().collect()
    };
    enforcer.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap();
    enforcer.firewall().held.clear();
    let back = NOW.plus_s(-365 * 86_400);
    assert_eq!(held(&mut enforcer, back), [60]);
    assert_eq!(held(&mut enforcer, back.plus_s(30)), [30]);
    assert_eq!(enforcer.blocks(back.plus_s(30)).count(), 1);
    assert!(held(&mut enforcer, back.plus_s(60)).is_empty());
}

#[test]
fn what_is_over_does_not_come_again() {
    let (_dir, path) = place();
    let mut before = enforcer(&path, live());
    before.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap();
    before.reconcile(NOW.plus_s(60)).unwrap();
    drop(before);
    // The clock is set back to when it held.
    assert_eq!(enforcer(&path, live()).blocks(NOW).count(), 0);
}

#[test]
fn the_worst_of_those_that_wait_come_first() {
    let (_dir, path) = place();
    let limits = Limits {
        per_minute: 2,
        ..live()
    };
    let mut enforcer = enforcer(&path, limits);
    let mut may = |net: &str, count, second| {
        let proposal = Proposal {
            weight: (Severity::High, count),
            ..block(net, 3_600)
        };
        let done = enforcer.act(&proposal, "1", NOW.plus_s(second));
        matches!(done, Ok(Done::Blocked(_)))
    };
    assert!(may("8.8.1.1/32", 30, 0) && may("8.8.2.2/32", 30, 0));
    for (net, count) in [
        ("8.8.3.3/32", 30),
        ("8.8.4.4/32", 40),
        ("8.8.5.5/32", 35),
        ("8.8.6.6/32", 45),
    ] {
        assert!(!may(net, count, 10), "{net}");
    }
    // There is room for two, and two are worse than this one.
    assert!(!may("8.8.3.3/32", 30, 61));
    assert!(!may("8.8.5.5/32", 35, 62));
    assert!(may("8.8.4.4/32", 40, 63));
    // The worst of them does not go on, and keeps nobody waiting for ever.
    assert!(!may("8.8.3.3/32", 30, 90));
    assert!(!may("8.8.3.3/32", 30, 101));
    assert!(may("8.8.5.5/32", 35, 102));
    assert!(may("8.8.3.3/32", 30, 124));
}

#[test]
fn a_clock_that_is_set_back_leaves_room() {
    let (_dir, path) = place();
    let limits = Limits {
        per_minute: 1,
        ..live()
    };
    let mut enforcer = enforcer(&path, limits);
    enforcer.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap();
    assert!(enforcer.act(&block("8.8.9.9/32", 60), "2", NOW).is_err());
    let back = NOW.plus_s(-3_600);
    enforcer.act(&block("8.8.9.9/32", 60), "2", back).unwrap();
}

#[test]
fn old_blocks_do_not_fill_the_ledger() {
    let (_dir, path) = place();
    let old = |id| {
        Entry::Add(Block {
            id: BlockId(id),
            kind: Kind::BlockIp,
            measure: Measure::Block,
            net: "8.8.8.8/32".parse().unwrap(),
            rule: String::new(),
            incident: String::new(),
            since: NOW.plus_s(-60),
            until: NOW,
            confirmed: true,
        })
    };
    let lines = (0..20_100).map(|id| serde_json::to_string(&old(id)).unwrap() + "\n");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let mut enforcer = enforcer(&path, live());
    enforcer.reconcile(NOW).unwrap();
    let done = enforcer.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap();
    assert!(matches!(done, Done::Blocked(block) if block.id == BlockId(20_100)));
    let lines = std::fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(lines, 1);
}

/// The settings said nftables before, and now CrowdSec.
#[test]
fn what_a_wall_can_not_do_keeps_nothing_else_from_being_done() {
    let (_dir, path) = place();
    let mut enforcer = enforcer(&path, live());
    let limit = Action::RateLimit {
        net: "8.8.9.9/32".parse().unwrap(),
        per_second: 5,
        ttl_s: 60,
    };
    let limit = Proposal {
        action: limit,
        ..block("8.8.9.9/32", 60)
    };
    enforcer.act(&limit, "1", NOW).unwrap();
    enforcer.act(&block("8.8.8.8/32", 60), "1", NOW).unwrap();
    enforcer.firewall().held.clear();
    enforcer.firewall().no_limits = true;
    assert!(enforcer.reconcile(NOW).is_err());
    assert_eq!(enforcer.firewall().held.len(), 1);
}

#[test]
fn an_address_is_the_same_however_it_is_written() {
    for (text, wanted) in [
        ("::ffff:192.168.0.1", "192.168.0.1/32"),
        ("::ffff:192.168.0.1/128", "192.168.0.1/32"),
        ("::ffff:192.168.7.0/120", "192.168.7.0/24"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:db8::1/64", "2001:db8::/64"),
        ("203.0.113.7/24", "203.0.113.0/24"),
    ] {
        assert_eq!(net(text).unwrap().to_string(), wanted, "{text}");
    }
    let allow = AllowList::new([]);
    for wide in ["::ffff:0:0/90", "64:ff9b::7f00:1/128", "::ffff:1.2.3.4/95"] {
        assert!(allow.protects(net(wide).unwrap()).is_some(), "{wide}");
    }
}
