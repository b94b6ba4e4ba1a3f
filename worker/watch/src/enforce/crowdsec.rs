//! Decisions of CrowdSec, by `cscli`: its bouncers do the rest, here and on other machines. Words
//! are made of parsed addresses, and there is no shell. A decision ends by itself.

use ipnet::IpNet;
use serde::Deserialize;

use super::nft::Run;
use super::{Change, Firewall, FirewallError, Held, Measure};

/// By this our decisions are told from others: only these are listed and deleted.
const REASON: &str = "fazai";

/// How cscli names where decisions made with it come from.
const ORIGIN: &str = "cscli";

/// CrowdSec on this machine.
#[derive(Debug)]
pub struct CrowdSec<R>(R);

impl<R: Run> CrowdSec<R> {
    /// Asked by this.
    pub fn new(run: R) -> Self {
        Self(run)
    }

    fn cscli(&mut self, words: &[&str]) -> Result<String, FirewallError> {
        let argv: Vec<&str> = ["cscli"].iter().chain(words).copied().collect();
        let ran = self.0.run(&argv, "");
        let ran = ran.map_err(|fault| {
            FirewallError::Refused(format!("cscli: {fault}; is CrowdSec installed?"))
        })?;
        if !ran.ok {
            let said = crate::judge::prompt::clean(ran.stderr.trim(), 500);
            return Err(FirewallError::Refused(format!("cscli: {said}")));
        }
        Ok(ran.stdout)
    }

    fn add(&mut self, net: &IpNet, ttl_s: u32) -> Result<(), FirewallError> {
        let (flag, value) = target(net);
        let duration = format!("{ttl_s}s");
        let words = [
            "decisions",
            "add",
            flag,
            &value,
            "--duration",
            &duration,
            "--type",
            "ban",
            "--reason",
            REASON,
        ];
        self.cscli(&words).map(drop)
    }

    fn delete(&mut self, net: &IpNet) -> Result<(), FirewallError> {
        let (flag, value) = target(net);
        let words = [
            "decisions",
            "delete",
            flag,
            &value,
            "--origin",
            ORIGIN,
            "--scenario",
            REASON,
        ];
        self.cscli(&words).map(drop)
    }
}

/// `--ip 192.0.2.1` or `--range 192.0.2.0/24`
fn target(net: &IpNet) -> (&'static str, String) {
    if net.prefix_len() == net.max_prefix_len() {
        ("--ip", net.addr().to_string())
    } else {
        ("--range", net.trunc().to_string())
    }
}

impl<R: Run> Firewall for CrowdSec<R> {
    /// One after the other; what was added before one failed is taken back.
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        // It has no limits, so that none has to be deleted.
        let (blocks, limits): (Vec<&Change>, Vec<&Change>) = changes
            .iter()
            .partition(|change| change.measure() == Measure::Block);
        let is_put = |change: &&Change| matches!(change, Change::Put { .. });
        if limits.iter().any(is_put) {
            let why = "CrowdSec can't limit how much comes";
            return Err(FirewallError::Refused(why.to_owned()));
        }
        let mut added = Vec::new();
        // A deletion takes what lies around its target too, so that it comes before what is added.
        let (puts, removals): (Vec<&Change>, Vec<&Change>) = blocks.into_iter().partition(is_put);
        for change in removals.into_iter().chain(puts) {
            let done = match change {
                Change::Remove { net, .. } => self.delete(net),
                Change::Put { net, ttl_s, .. } => {
                    added.push(*net);
                    self.add(net, *ttl_s)
                }
            };
            if let Err(fault) = done {
                added.pop();
                for net in &added {
                    // If this fails as well, the next reconciliation finds it.
                    let _ = self.delete(net);
                }
                return Err(fault);
            }
        }
        Ok(())
    }

    fn held(&mut self) -> Result<Vec<Held>, FirewallError> {
        let words = [
            "decisions",
            "list",
            "--origin",
            ORIGIN,
            "--scenario",
            REASON,
            "--limit",
            "0",
            "--output",
            "json",
        ];
        read(&self.cscli(&words)?)
    }
}

#[derive(Deserialize)]
struct Alert {
    #[serde(default)]
    decisions: Option<Vec<Decision>>,
}

#[derive(Deserialize)]
struct Decision {
    duration: String,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    scenario: String,
    value: String,
}

/// `[{"decisions":[{"duration":"3h59m12.5s","value":"192.0.2.1",...}]}]`, or `null` for none.
fn read(text: &str) -> Result<Vec<Held>, FirewallError> {
    let answer = |why: String| FirewallError::Answer(format!("cscli: {why}"));
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let alerts: Option<Vec<Alert>> =
        serde_json::from_str(text).map_err(|fault| answer(fault.to_string()))?;
    let alerts = alerts.unwrap_or_default().into_iter();
    let decisions = alerts.flat_map(|alert| alert.decisions.unwrap_or_default());
    // Whatever cscli makes of the filter, the decisions of others are none of ours.
    let ours = decisions.filter(|one| one.origin == ORIGIN && one.scenario == REASON);
    let held = ours.map(|one| {
        let net = super::net(&one.value);
        let net = net.ok_or_else(|| answer(format!("{:?} is no network", one.value)))?;
        let left = seconds(&one.duration);
        let left = left.ok_or_else(|| answer(format!("{:?} is no time", one.duration)))?;
        Ok((net, left))
    });
    let held: Vec<(IpNet, i64)> = held.collect::<Result<_, FirewallError>>()?;
    let left = held.into_iter().filter(|(_, left)| *left > 0);
    Ok(left
        .map(|(net, left)| Held {
            measure: Measure::Block,
            net,
            left_s: u32::try_from(left).unwrap_or(u32::MAX),
        })
        .collect())
}

/// `1h2m3.5s`, as Go writes times; what is over has a minus.
fn seconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let whole: i64 = number.split('.').next()?.parse().ok()?;
        let unit = after.find(|c: char| c.is_ascii_digit());
        let (unit, after) = after.split_at(unit.unwrap_or(after.len()));
        let factor = match unit {
            "h" => 3_600,
            "m" => 60,
            "s" => 1,
            "ms" | "us" | "µs" | "ns" => 0,
            _ => return None,
        };
        total = total.checked_add(whole.checked_mul(factor)?)?;
        rest = after;
    }
    Some(sign * total)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::nft::Ran;
    use super::*;

    /// Keeps what it is asked, and answers with the next of these.
    #[derive(Default)]
    struct Asked {
        asked: Vec<String>,
        answers: Vec<(bool, &'static str)>,
    }

    impl Run for &mut Asked {
        fn run(&mut self, argv: &[&str], stdin: &str) -> io::Result<Ran> {
            assert!(stdin.is_empty());
            self.asked.push(argv.join(" "));
            let (ok, text) = self.answers.pop().unwrap_or((true, ""));
            Ok(Ran {
                ok,
                stdout: text.to_owned(),
                stderr: text.to_owned(),
            })
        }
    }

    fn put(net: &str, measure: Measure) -> Change {
        Change::Put {
            measure,
            net: net.parse().unwrap(),
            ttl_s: 300,
        }
    }

    #[test]
    fn decisions_are_words_of_parsed_addresses() {
        let mut asked = Asked::default();
        let remove = Change::Remove {
            measure: Measure::Block,
            net: "2001:db8::/64".parse().unwrap(),
        };
        let changes = [put("203.0.113.7/32", Measure::Block), remove];
        CrowdSec::new(&mut asked).apply(&changes).unwrap();
        assert_eq!(
            asked.asked,
            [
                "cscli decisions delete --range 2001:db8::/64 --origin cscli --scenario fazai",
                "cscli decisions add --ip 203.0.113.7 --duration 300s --type ban --reason fazai",
            ]
        );
        let limit = [put("203.0.113.7/32", Measure::Limit(5))];
        assert!(CrowdSec::new(&mut asked).apply(&limit).is_err());
        // It has none that could be ended.
        let limit = [Change::Remove {
            measure: Measure::Limit(5),
            net: "203.0.113.7/32".parse().unwrap(),
        }];
        CrowdSec::new(&mut asked).apply(&limit).unwrap();
        assert_eq!(asked.asked.len(), 2);
    }

    #[test]
    fn of_changes_that_fail_nothing_is_left() {
        let mut asked = Asked {
            answers: vec![(true, ""), (false, "no\u{1b}[0m"), (true, "")],
            ..Asked::default()
        };
        let changes = ["203.0.113.7/32", "203.0.113.8/32"].map(|net| put(net, Measure::Block));
        let fault = CrowdSec::new(&mut asked).apply(&changes).unwrap_err();
        assert!(!fault.to_string().contains('\u{1b}'), "{fault}");
        let last = asked.asked.last().unwrap();
        assert!(
            last.starts_with("cscli decisions delete --ip 203.0.113.7 "),
            "{last}"
        );
    }

    #[test]
    fn what_is_held_is_read_and_what_is_of_others_is_not() {
        let text = r#"[
            {"id":1,"decisions":[
                {"duration":"3h59m12.512s","origin":"cscli","scenario":"fazai","scope":"Ip","type":"ban","value":"203.0.113.7"},
                {"duration":"-3.5s","origin":"cscli","scenario":"fazai","value":"203.0.113.8"},
                {"duration":"4h","origin":"cscli","scenario":"manual 'ban'","value":"203.0.113.9"},
                {"duration":"4h","origin":"CAPI","scenario":"fazai","value":"203.0.113.10"}]},
            {"id":2,"decisions":null},
            {"id":3,"decisions":[{"duration":"59.9s","origin":"cscli","scenario":"fazai","scope":"Range","value":"2001:db8::/64"}]}
        ]"#;
        let held: Vec<(String, u32)> = read(text)
            .unwrap()
            .into_iter()
            .map(|held| (held.net.to_string(), held.left_s))
            .collect();
        let wanted = [("203.0.113.7/32", 14_352), ("2001:db8::/64", 59)];
        assert_eq!(held, wanted.map(|(net, left)| (net.to_owned(), left)));
        assert!(read("null").unwrap().is_empty() && read("").unwrap().is_empty());
        for bad in [
            "No active decisions",
            "[{\"decisions\":[{\"duration\":\"soon\",\"origin\":\"cscli\",\"scenario\":\"fazai\",\"value\":\"203.0.113.7\"}]}]",
            "[{\"decisions\":[{\"duration\":\"1h\",\"origin\":\"cscli\",\"scenario\":\"fazai\",\"value\":\"x; rm\"}]}]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_go_are_read() {
        for (text, wanted) in [
            ("1h0m0s", Some(3_600)),
            ("45.3s", Some(45)),
            ("-2m1s", Some(-121)),
            ("500ms", Some(0)),
            ("12µs", Some(0)),
            ("", None),
            ("-", None),
            ("5", None),
            ("5d", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
