//! nftables, by `nft -j`: JSON that is made of parsed addresses, and never text for a shell.
//!
//! All is in one table of our own, `inet fazai`: sets with timeouts, which the kernel ends by
//! itself, and two chains that look at them before other tables do. To remove everything, delete
//! the table.

use std::collections::BTreeSet;
use std::io;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Change, Firewall, FirewallError, Held, Measure};

const FAMILY: &str = "inet";
const TABLE: &str = "fazai";
/// Before the filters of others, after the tracking of connections.
const PRIORITY: i32 = -10;
/// Where packets are looked at.
const HOOKS: [&str; 2] = ["input", "forward"];

/// Starts `nft`; the worker does it through its gate.
pub trait Run {
    /// Starts `argv` with `stdin`, without a shell.
    fn run(&mut self, argv: &[&str], stdin: &str) -> io::Result<Ran>;
}

/// How a program ended.
#[derive(Debug, Clone, Default)]
pub struct Ran {
    /// With exit code 0.
    pub ok: bool,
    /// What it wrote.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// The firewall of the kernel.
#[derive(Debug)]
pub struct Nft<R> {
    run: R,
    rates: BTreeSet<u32>,
}

impl<R: Run> Nft<R> {
    /// Blocks, and limits to these rates per second.
    pub fn new(run: R, rates: impl IntoIterator<Item = u32>) -> Self {
        Self {
            run,
            rates: rates.into_iter().collect(),
        }
    }

    /// Removes all of ours.
    pub fn remove_all(&mut self) -> Result<(), FirewallError> {
        // To add it first lets the removal of what is not there succeed.
        let table = json!({ "family": FAMILY, "name": TABLE });
        self.batch(&[
            json!({ "add": { "table": table } }),
            json!({ "delete": { "table": table } }),
        ])
    }

    fn measures(&self) -> Vec<Measure> {
        let limits = self.rates.iter().map(|rate| Measure::Limit(*rate));
        limits.chain([Measure::Block]).collect()
    }

    /// Makes what is missing; blocks that are there stay.
    fn make(&mut self) -> Result<(), FirewallError> {
        let table = json!({ "family": FAMILY, "name": TABLE });
        let mut commands = vec![json!({ "add": { "table": table } })];
        for (measure, v6) in self.measures().into_iter().flat_map(sets) {
            commands.push(json!({ "add": { "set": {
                "family": FAMILY, "table": TABLE, "name": name(measure, v6), "type": address_type(v6),
                "flags": ["interval", "timeout"],
            } } }));
        }
        for hook in HOOKS {
            let chain = json!({ "family": FAMILY, "table": TABLE, "name": hook });
            commands.push(json!({ "add": { "chain": {
                "family": FAMILY, "table": TABLE, "name": hook,
                "type": "filter", "hook": hook, "prio": PRIORITY, "policy": "accept",
            } } }));
            commands.push(json!({ "flush": { "chain": chain } }));
            for (measure, v6) in self.measures().into_iter().flat_map(sets) {
                let rule = json!({ "family": FAMILY, "table": TABLE, "chain": hook, "expr": rule(measure, v6, hook) });
                commands.push(json!({ "add": { "rule": rule } }));
            }
        }
        self.batch(&commands)
    }

    /// All of our table.
    fn list(&mut self) -> Result<Vec<Value>, FirewallError> {
        let text = self.nft(&["nft", "-j", "list", "table", FAMILY, TABLE], "")?;
        let answer: Value = serde_json::from_str(&text)
            .map_err(|fault| FirewallError::Answer(fault.to_string()))?;
        match &answer["nftables"] {
            Value::Array(parts) => Ok(parts.clone()),
            _ => Err(FirewallError::Answer("it is no list".to_owned())),
        }
    }

    /// Whether nobody took anything of it away.
    fn is_whole(&self, parts: &[Value]) -> bool {
        let rules = |hook: &str| {
            let of = |part: &&Value| part["rule"]["chain"] == hook;
            parts.iter().filter(of).count()
        };
        let hooked = |hook: &str| parts.iter().any(|part| part["chain"]["hook"] == hook);
        let sets = self.measures().into_iter().flat_map(sets);
        HOOKS
            .iter()
            .all(|hook| hooked(hook) && rules(hook) == sets.clone().count())
            && sets
                .clone()
                .all(|(measure, v6)| set(parts, &name(measure, v6)).is_some())
    }

    fn batch(&mut self, commands: &[Value]) -> Result<(), FirewallError> {
        let input = json!({ "nftables": commands }).to_string();
        self.nft(&["nft", "-j", "-f", "-"], &input).map(drop)
    }

    fn nft(&mut self, argv: &[&str], stdin: &str) -> Result<String, FirewallError> {
        let ran = self.run.run(argv, stdin).map_err(FirewallError::Start)?;
        if !ran.ok {
            return Err(FirewallError::Refused(crate::judge::prompt::clean(
                ran.stderr.trim(),
                500,
            )));
        }
        Ok(ran.stdout)
    }
}

impl<R: Run> Firewall for Nft<R> {
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        // What ends by itself in between makes the kernel refuse all of it; it does not end twice.
        self.change(changes).or_else(|_| self.change(changes))
    }

    /// What it holds, of a table that is whole: others may have flushed it.
    fn held(&mut self) -> Result<Vec<Held>, FirewallError> {
        let listed = self.list().ok().filter(|parts| self.is_whole(parts));
        let parts = match listed {
            Some(parts) => parts,
            None => {
                self.make()?;
                self.list()?
            }
        };
        let mut held = Vec::new();
        for (measure, v6) in self.measures().into_iter().flat_map(sets) {
            let Some(set) = set(&parts, &name(measure, v6)) else {
                return Err(FirewallError::Answer("there is no set in it".to_owned()));
            };
            held.extend(read(set, measure)?);
        }
        Ok(held)
    }
}

impl<R: Run> Nft<R> {
    fn change(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        // A rule that has changed since may have left others.
        let rates = changes.iter().filter_map(|change| match change {
            Change::Put {
                measure: Measure::Limit(rate),
                ..
            } => Some(*rate),
            _ => None,
        });
        self.rates.extend(rates);
        // What has ended by itself can't be deleted, and what is there can't be made anew.
        let held = self.held()?;
        let there = |measure: Measure, net: &IpNet| {
            held.iter()
                .any(|known| known.measure == measure && known.net == *net)
        };
        let mut commands = Vec::new();
        for change in changes {
            let (measure, net, ttl) = match change {
                Change::Put {
                    measure,
                    net,
                    ttl_s,
                } => (*measure, net, Some(*ttl_s)),
                Change::Remove { measure, net } => (*measure, net, None),
            };
            if there(measure, net) {
                commands.push(json!({ "delete": { "element": element(measure, net, None) } }));
            }
            if ttl.is_some() {
                commands.push(json!({ "add": { "element": element(measure, net, ttl) } }));
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.batch(&commands)
    }
}

/// The sets of a measure: for IPv4, and for IPv6.
fn sets(measure: Measure) -> [(Measure, bool); 2] {
    [(measure, false), (measure, true)]
}

fn set<'p>(parts: &'p [Value], name: &str) -> Option<&'p Value> {
    let mut sets = parts.iter().filter_map(|part| part.get("set"));
    sets.find(|set| set["name"] == name)
}

fn name(measure: Measure, v6: bool) -> String {
    let version = if v6 { 6 } else { 4 };
    match measure {
        Measure::Block => format!("block{version}"),
        Measure::Limit(rate) => format!("limit{version}_{rate}"),
    }
}

fn address_type(v6: bool) -> &'static str {
    if v6 { "ipv6_addr" } else { "ipv4_addr" }
}

fn rule(measure: Measure, v6: bool, hook: &str) -> Value {
    let source =
        json!({ "payload": { "protocol": if v6 { "ip6" } else { "ip" }, "field": "saddr" } });
    let listed = json!({ "match": { "op": "==", "left": source, "right": format!("@{}", name(measure, v6)) } });
    match measure {
        Measure::Block => json!([listed, { "counter": null }, { "drop": null }]),
        Measure::Limit(rate) => json!([
            listed,
            // Each address has a measure of its own.
            { "meter": {
                "name": format!("{hook}_{}", name(measure, v6)),
                "key": { "elem": { "val": source, "timeout": 60 } },
                "stmt": { "limit": { "rate": rate, "per": "second", "inv": true } },
                "size": 65535,
            } },
            { "counter": null },
            { "drop": null },
        ]),
    }
}

fn element(measure: Measure, net: &IpNet, ttl_s: Option<u32>) -> Value {
    let whole = net.prefix_len() == net.max_prefix_len();
    let value = if whole {
        json!(net.addr().to_string())
    } else {
        json!({ "prefix": { "addr": net.network().to_string(), "len": net.prefix_len() } })
    };
    let elem = match ttl_s {
        Some(ttl_s) => json!({ "elem": { "val": value, "timeout": ttl_s } }),
        None => value,
    };
    let name = name(measure, matches!(net, IpNet::V6(_)));
    json!({ "family": FAMILY, "table": TABLE, "name": name, "elem": [elem] })
}

/// `{"elem":[{"elem":{"val":..., "expires":...}}]}`
fn read(set: &Value, measure: Measure) -> Result<Vec<Held>, FirewallError> {
    let elements = set["elem"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    elements
        .iter()
        .map(|element| held(element, measure))
        .collect()
}

fn held(element: &Value, measure: Measure) -> Result<Held, FirewallError> {
    let inner = element.get("elem").unwrap_or(element);
    let value = inner.get("val").unwrap_or(inner);
    let net = match value {
        Value::String(ip) => ip.parse().ok().map(|ip: std::net::IpAddr| IpNet::from(ip)),
        other => {
            let (addr, len) = (
                other["prefix"]["addr"].as_str(),
                other["prefix"]["len"].as_u64(),
            );
            addr.zip(len)
                .and_then(|(addr, len)| format!("{addr}/{len}").parse().ok())
        }
    };
    let left = inner["expires"]
        .as_u64()
        .and_then(|left| u32::try_from(left).ok());
    match net {
        Some(net) => Ok(Held {
            measure,
            net,
            left_s: left.unwrap_or(u32::MAX),
        }),
        None => Err(FirewallError::Answer(format!("{value} is no network"))),
    }
}
