//! The real nftables, in network namespaces of the test's own: two hosts, a block that stops their
//! packets and ends with its time, IPv4 and IPv6. Without the right to make namespaces, or without
//! `nft` and `ip`, the test says so and does nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use fazai_watch::Severity;
use fazai_watch::action::{Action, Proposal};
use fazai_watch::enforce::nft::{Nft, Ran, Run};
use fazai_watch::enforce::{AllowList, Done, Enforcer, Firewall, Limits, Measure, Reconciled};
use fazai_watch::time::Timestamp;

/// Two namespaces with a cable between them; they go with the test.
struct Network {
    guard: String,
    other: String,
}

impl Network {
    fn make() -> Option<Self> {
        let id = std::process::id();
        let network = Self {
            guard: format!("fazai-g{id}"),
            other: format!("fazai-o{id}"),
        };
        let (g, o) = (network.guard.clone(), network.other.clone());
        for command in [
            format!("ip netns add {g}"),
            format!("ip netns add {o}"),
            format!("ip -n {g} link add veth0 type veth peer name veth1 netns {o}"),
            format!("ip -n {g} addr add 198.51.100.1/24 dev veth0"),
            format!("ip -n {o} addr add 198.51.100.2/24 dev veth1"),
            format!("ip -n {o} addr add 198.51.100.3/24 dev veth1"),
            format!("ip -n {g} addr add 2001:db8:5::1/64 dev veth0 nodad"),
            format!("ip -n {o} addr add 2001:db8:5::2/64 dev veth1 nodad"),
            format!("ip -n {g} link set veth0 up"),
            format!("ip -n {o} link set veth1 up"),
            format!("ip -n {g} link set lo up"),
            format!("ip netns exec {g} nft -j list tables"),
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            match Command::new(words[0]).args(&words[1..]).output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    eprintln!(
                        "SKIPPED: `{command}`: {}",
                        String::from_utf8_lossy(&output.stderr)
                    );
                    return None;
                }
                Err(fault) => {
                    eprintln!("SKIPPED: `{command}`: {fault}");
                    return None;
                }
            }
        }
        Some(network)
    }

    /// Whether a connection from the other host to a port of the guard's is possible: the guard
    /// refuses it, which needs packets both ways.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let script = "import socket,sys
s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)
s.settimeout(1); s.bind((sys.argv[1],0))
try: s.connect((sys.argv[2],9))
except ConnectionRefusedError: sys.exit(0)
except OSError: sys.exit(1)";
        let status = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.other,
                "python3",
                "-c",
                script,
                from,
                to,
            ])
            .status();
        status.unwrap().success()
    }

    /// How many of `count` packets, sent at once, are answered.
    fn answered(&self, from: &str, to: &str, count: u32) -> u32 {
        let script = "import socket,sys,time
ok=0
ss=[]
for n in range(int(sys.argv[3])):
    s=socket.socket(); s.bind((sys.argv[1],0)); s.setblocking(False)
    try: s.connect((sys.argv[2],9))
    except BlockingIOError: ss.append(s)
    except ConnectionRefusedError: ok+=1
time.sleep(0.5)
for s in ss: ok+= s.getsockopt(socket.SOL_SOCKET,socket.SO_ERROR)!=0
print(ok)";
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.other,
                "python3",
                "-c",
                script,
                from,
                to,
                &count.to_string(),
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    fn nft(&self) -> Nft<InNamespace> {
        Nft::new(InNamespace(self.guard.clone()), [5])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.guard, &self.other] {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

struct InNamespace(String);

impl Run for InNamespace {
    fn run(&mut self, argv: &[&str], stdin: &str) -> io::Result<Ran> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.0])
            .args(argv)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().unwrap().write_all(stdin.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(Ran {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn block(net: &str, ttl_s: u32) -> Proposal {
    Proposal {
        action: Action::BlockIp {
            net: net.parse().unwrap(),
            ttl_s,
        },
        rule: "test".to_owned(),
        weight: (Severity::High, 1),
    }
}

#[test]
fn the_kernel_blocks_limits_and_forgets() {
    let Some(network) = Network::make() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("blocks.jsonl");
    let limits = Limits {
        dry_run: false,
        ..Limits::default()
    };
    let mut enforcer =
        Enforcer::open(&ledger, limits.clone(), AllowList::new([]), network.nft()).unwrap();
    let v4 = |from| network.reaches(from, "198.51.100.1");
    let v6 = || network.reaches("2001:db8:5::2", "2001:db8:5::1");
    assert!(v4("198.51.100.2") && v4("198.51.100.3") && v6());

    // One address is blocked, its neighbour is not; and it ends by itself.
    let made = enforcer
        .act(&block("198.51.100.2/32", 4), "1", Timestamp::now())
        .unwrap();
    assert!(matches!(made, Done::Blocked(_)));
    assert!(!v4("198.51.100.2") && v4("198.51.100.3") && v6());
    std::thread::sleep(Duration::from_secs(5));
    assert!(v4("198.51.100.2"));

    // The same once more, after the kernel forgot it; IPv6; and undone.
    enforcer
        .act(&block("198.51.100.2/32", 60), "2", Timestamp::now())
        .unwrap();
    enforcer
        .act(&block("2001:db8:5::2/128", 60), "2", Timestamp::now())
        .unwrap();
    assert!(!v4("198.51.100.2") && !v6());
    assert_eq!(
        enforcer.undo_incident("2", Timestamp::now()).unwrap().len(),
        2
    );
    assert!(v4("198.51.100.2") && v6());

    // A network takes the place of an address in it, and a longer time that of a shorter one.
    enforcer
        .act(&block("198.51.100.2/32", 60), "3", Timestamp::now())
        .unwrap();
    enforcer
        .act(&block("198.51.100.0/24", 200), "3", Timestamp::now())
        .unwrap();
    assert!(!v4("198.51.100.3"));
    enforcer.confirm("test", 500, Timestamp::now()).unwrap();
    let held = enforcer.firewall().held().unwrap();
    assert!(held.len() == 1 && held[0].left_s > 490, "{held:?}");

    // Somebody flushed the firewall and put something else in; and the process began anew.
    drop(enforcer);
    let mut nft = network.nft();
    nft.remove_all().unwrap();
    let mut enforcer = Enforcer::open(&ledger, limits, AllowList::new([]), nft).unwrap();
    assert!(v4("198.51.100.3"));
    let again = enforcer.reconcile(Timestamp::now()).unwrap();
    assert_eq!(
        again,
        Reconciled {
            restored: 1,
            removed: 0
        }
    );
    assert!(!v4("198.51.100.3"));
    // The same while the process goes on: all of it, or the rules alone.
    for command in ["flush ruleset", "flush chain inet fazai input"] {
        let mut nft = InNamespace(network.guard.clone());
        let words: Vec<&str> = ["nft"].into_iter().chain(command.split(' ')).collect();
        assert!(nft.run(&words, "").unwrap().ok, "{command}");
        assert!(v4("198.51.100.3"), "{command}");
        enforcer.reconcile(Timestamp::now()).unwrap();
        assert!(!v4("198.51.100.3"), "{command}");
    }
    enforcer.undo_incident("3", Timestamp::now()).unwrap();
    assert!(v4("198.51.100.3"));

    // A limit lets some through, of each address.
    let limit = Action::RateLimit {
        net: "198.51.100.2/32".parse().unwrap(),
        per_second: 5,
        ttl_s: 60,
    };
    let limit = Proposal {
        action: limit,
        rule: "test".to_owned(),
        weight: (Severity::High, 1),
    };
    assert_eq!(network.answered("198.51.100.2", "198.51.100.1", 100), 100);
    enforcer.act(&limit, "4", Timestamp::now()).unwrap();
    let answered = network.answered("198.51.100.2", "198.51.100.1", 100);
    assert!((1..40).contains(&answered), "{answered}");
    assert_eq!(network.answered("198.51.100.3", "198.51.100.1", 100), 100);
    let held = enforcer.firewall().held().unwrap();
    assert_eq!(held[0].measure, Measure::Limit(5));
    enforcer.firewall().remove_all().unwrap();
}
