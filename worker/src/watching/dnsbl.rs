//! What lists of bad addresses say of those who act in incidents, asked by DNS. Nobody waits for
//! it: what is not known yet is added to the incident when it comes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use fazai_toolbox::{ToolError, blacklisted, is_public, name_server};
use fazai_tools::Action;
use fazai_watch::judge::prompt::clean;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::Kept;
use super::passing::{Failure, past_gate};
use super::record::Record;
use crate::config::DnsblSettings;
use crate::lock::lock;
use crate::trouble::Trouble;
use crate::worker::Shared;

/// Addresses that wait to be asked for; of more nothing is asked.
const QUEUE_MAX: usize = 256;

/// Addresses that are asked for at once.
const AT_ONCE_MAX: usize = 4;

/// Addresses that are remembered, and for how long; shorter if no list gave an answer.
const KNOWN_MAX: usize = 4_096;
const KNOWN_FOR: Duration = Duration::from_secs(3_600);
const SILENT_FOR: Duration = Duration::from_secs(300);

/// An address that waits for so long may be asked for again.
const ASKED_FOR: Duration = Duration::from_secs(1_800);

/// Incidents of one address that are told again.
const INCIDENTS_MAX: usize = 16;

/// The longest reason of a list, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// By how much an incident of a listed address comes before others like it.
const RANK: f32 = 0.5;
const RANK_MAX: f32 = 5.0;

/// What is known and what is asked.
pub(super) struct Dnsbl {
    known: Mutex<HashMap<IpAddr, Known>>,
    /// None: there is no list.
    queue: Option<mpsc::Sender<IpAddr>>,
    dropped: AtomicU64,
    trouble: Trouble,
}

struct Known {
    until: Instant,
    /// None: it is being asked.
    listed: Option<Vec<Value>>,
    /// The incidents for which it is asked.
    incidents: BTreeSet<u64>,
}

impl Dnsbl {
    /// What it asks comes out of the receiver.
    pub(super) fn new(settings: &DnsblSettings) -> (Self, mpsc::Receiver<IpAddr>) {
        let (queue, questions) = mpsc::channel(QUEUE_MAX);
        let dnsbl = Self {
            known: Mutex::default(),
            queue: (!settings.lists.is_empty()).then_some(queue),
            dropped: AtomicU64::new(0),
            trouble: Trouble::default(),
        };
        (dnsbl, questions)
    }

    /// Adds what is known of the incident's actor.
    pub(super) fn add_to(&self, record: &mut Record) {
        let known = lock(&self.known);
        let known = record.actor.and_then(|ip| known.get(&ip));
        if let Some(listed) = known.and_then(|known| known.listed.as_ref()) {
            record.listed.clone_from(listed);
        }
        if !record.listed.is_empty() {
            record.rank = (record.rank + RANK).min(RANK_MAX);
        }
    }

    /// Asks for those of whom nothing is known. What strangers brought asks for nobody.
    pub(super) fn ask(&self, records: &[Arc<Record>]) {
        let Some(queue) = &self.queue else { return };
        for record in records.iter().filter(|record| record.trusted) {
            let Some(ip) = record.actor.filter(|ip| is_public(*ip)) else {
                continue;
            };
            let mut known = lock(&self.known);
            let now = Instant::now();
            if let Some(known) = known.get_mut(&ip).filter(|known| known.until > now) {
                if known.listed.is_none() && known.incidents.len() < INCIDENTS_MAX {
                    known.incidents.insert(record.id);
                }
                continue;
            }
            if queue.try_send(ip).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let asked = Known {
                until: now + ASKED_FOR,
                listed: None,
                incidents: [record.id].into(),
            };
            remember(&mut known, ip, asked);
        }
    }

    /// How it stands, for `status`; none without a list.
    pub(super) fn state(&self) -> Option<Value> {
        let queue = self.queue.as_ref()?;
        Some(json!({
            "waiting": QUEUE_MAX - queue.capacity(),
            "known": lock(&self.known).len(),
            "dropped": self.dropped.load(Ordering::Relaxed),
        }))
    }

    /// Says each trouble once.
    fn tell(&self, why: &str) {
        if self.trouble.is_news(why) {
            warn!(%why, "an address can't be looked for on a list of [watch] dnsbl");
        }
    }

    /// Keeps what the lists said. Gives the incidents that have to be told again.
    fn heard(&self, ip: IpAddr, said: Vec<Value>) -> BTreeSet<u64> {
        let faults = said.iter().filter_map(|list| {
            let fault = list["error"].as_str()?;
            Some(format!(
                "{}: {fault}",
                list["list"].as_str().unwrap_or_default()
            ))
        });
        let faults: Vec<String> = faults.collect();
        let silent = faults.len() == said.len();
        if !faults.is_empty() {
            self.tell(&faults.join("; "));
        }
        let listed = said.into_iter().filter(|list| list["listed"] == true);
        let listed: Vec<Value> = listed.map(cleaned).collect();
        let is_listed = !listed.is_empty();
        let time = if silent { SILENT_FOR } else { KNOWN_FOR };
        let heard = Known {
            until: Instant::now() + time,
            listed: Some(listed),
            incidents: BTreeSet::new(),
        };
        let asked = remember(&mut lock(&self.known), ip, heard);
        let incidents = asked.map(|asked| asked.incidents);
        incidents.filter(|_| is_listed).unwrap_or_default()
    }
}

/// Strangers may have written the reason.
fn cleaned(mut list: Value) -> Value {
    if let Some(reason) = list["reason"].as_str() {
        list["reason"] = json!(clean(reason, REASON_BYTES_MAX));
    }
    list
}

/// Of too many, those go that are over, and then any. Gives what was known before.
fn remember(known: &mut HashMap<IpAddr, Known>, ip: IpAddr, new: Known) -> Option<Known> {
    let before = known.remove(&ip);
    if known.len() >= KNOWN_MAX {
        let now = Instant::now();
        known.retain(|_, known| known.until > now);
    }
    if known.len() >= KNOWN_MAX
        && let Some(any) = known.keys().next().copied()
    {
        known.remove(&any);
    }
    known.insert(ip, new);
    before
}

/// Asks until nobody is left who could want it.
pub(super) async fn run(
    questions: mpsc::Receiver<IpAddr>,
    settings: DnsblSettings,
    kept: Weak<Kept>,
    shared: Weak<Shared>,
) {
    let questions = futures_util::stream::unfold(questions, |mut questions| async {
        questions.recv().await.map(|ip| (ip, questions))
    });
    let settings = &settings;
    questions
        .for_each_concurrent(AT_ONCE_MAX, |ip| {
            let (kept, shared) = (kept.upgrade(), shared.upgrade());
            async move {
                if let (Some(kept), Some(shared)) = (kept, shared) {
                    answer(ip, settings, &kept, &shared).await;
                }
            }
        })
        .await;
}

async fn answer(ip: IpAddr, settings: &DnsblSettings, kept: &Arc<Kept>, shared: &Arc<Shared>) {
    let said = match ask(ip, settings, shared).await {
        Ok(said) => said,
        Err(why) => {
            kept.dnsbl.tell(&why.to_string());
            Vec::new()
        }
    };
    let incidents = kept.dnsbl.heard(ip, said);
    if incidents.is_empty() {
        return;
    }
    let kept = Arc::clone(kept);
    // It waits for the disk.
    let told = tokio::task::spawn_blocking(move || {
        for id in incidents {
            kept.tell_again(id);
        }
    });
    if let Err(fault) = told.await {
        error!(%fault, "what lists say of an address could not be added");
    }
}

/// Past the gate.
async fn ask(
    ip: IpAddr,
    settings: &DnsblSettings,
    shared: &Arc<Shared>,
) -> Result<Vec<Value>, Failure> {
    let away = |fault: ToolError| Failure::Away(fault.to_string());
    let server = name_server(settings.server).map_err(away)?;
    let action = Action::Network {
        host: server.ip().to_string(),
        port: server.port(),
    };
    let asked = blacklisted(server, ip, &settings.lists);
    past_gate(shared, action, async { asked.await.map_err(away) }).await
}

#[cfg(test)]
mod tests {
    use super::super::record::example;
    use super::*;

    fn settings() -> DnsblSettings {
        DnsblSettings {
            lists: vec!["bad.test".to_owned()],
            server: None,
        }
    }

    fn record(id: u64, actor: &str) -> Arc<Record> {
        let rank = 4.8;
        Arc::new(Record {
            rank,
            ..example(id, Some(actor))
        })
    }

    #[test]
    fn only_public_addresses_are_asked_for_once_and_never_too_many() {
        let (dnsbl, mut questions) = Dnsbl::new(&settings());
        let mut stranger = Record::clone(&record(1, "1.2.3.4"));
        stranger.trusted = false;
        dnsbl.ask(&[
            Arc::new(stranger),
            record(2, "10.0.0.1"),
            record(3, "fe80::1"),
        ]);
        assert!(questions.try_recv().is_err());
        dnsbl.ask(&[record(4, "1.2.3.4"), record(5, "1.2.3.4")]);
        let asked = questions.try_recv();
        assert_eq!(asked, Ok("1.2.3.4".parse().expect("an address")));
        assert!(questions.try_recv().is_err());
        let many: Vec<Arc<Record>> = (0..QUEUE_MAX + 5)
            .map(|at| record(9, &format!("9.9.{}.{}", at / 256, at % 256)))
            .collect();
        dnsbl.ask(&many);
        let state = dnsbl.state().expect("there is a list");
        assert_eq!(
            (&state["waiting"], &state["dropped"]),
            (&json!(QUEUE_MAX), &json!(5))
        );
        let (none, _questions) = Dnsbl::new(&DnsblSettings::default());
        none.ask(&many);
        assert_eq!(none.state(), None);
    }

    #[test]
    fn what_is_listed_comes_first_and_what_is_not_as_before() {
        let (dnsbl, _questions) = Dnsbl::new(&settings());
        let ip: IpAddr = "1.2.3.4".parse().expect("an address");
        let said = vec![
            json!({ "list": "bad.test", "listed": true, "codes": ["127.0.0.2"], "reason": "a\u{202e}b\u{1b}[0m" }),
            json!({ "list": "good.test", "listed": false, "codes": [] }),
            json!({ "list": "dead.test", "error": "no answer" }),
        ];
        dnsbl.ask(&[record(7, "1.2.3.4"), record(8, "1.2.3.4")]);
        assert_eq!(dnsbl.heard(ip, said), [7, 8].into());
        let mut listed = Record::clone(&record(1, "1.2.3.4"));
        dnsbl.add_to(&mut listed);
        assert_eq!(listed.listed.len(), 1);
        assert!(listed.rank >= 5.0 - f32::EPSILON && listed.rank <= RANK_MAX);
        let reason = listed.listed[0]["reason"].as_str().expect("a reason");
        assert!(!reason.contains(['\u{202e}', '\u{1b}']), "{reason:?}");
        let mut other = Record::clone(&record(2, "1.2.3.5"));
        dnsbl.add_to(&mut other);
        assert!(other.listed.is_empty() && other.rank < 4.9);
        let more = u32::try_from(KNOWN_MAX + 10).expect("small");
        for at in 0..more {
            let ip = IpAddr::from((at + (9 << 24)).to_be_bytes());
            dnsbl.heard(ip, Vec::new());
        }
        assert_eq!(lock(&dnsbl.known).len(), KNOWN_MAX);
    }
}
