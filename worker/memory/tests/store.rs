//! One suite for every store. The server's half runs where `FAZAI_TEST_QDRANT` names an empty one.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use common::{filter, record, vector};
use fazai_memory::store::embedded::Embedded;
use fazai_memory::store::{BATCH_MAX, Collection, Store};
use fazai_memory::{Filter, Id, Kind, MemoryError, Record, Status, portable};
use jiff::{SignedDuration, Timestamp};

const DIMENSIONS: usize = 32;
const KB: Collection = Collection::Knowledge;

#[test]
fn the_embedded_store_does_what_a_store_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path()).unwrap();
    suite(&store);
    migration(&store);
}

#[test]
#[cfg(feature = "server")]
fn a_server_does_what_a_store_does() {
    use fazai_memory::store::server::{Server, ServerOptions};
    let Ok(address) = std::env::var("FAZAI_TEST_QDRANT") else {
        eprintln!("SKIPPED: FAZAI_TEST_QDRANT names no Qdrant server, so none was tested");
        return;
    };
    let (host, port) = address
        .rsplit_once(':')
        .expect("FAZAI_TEST_QDRANT is host:port");
    let options = ServerOptions::new(host, port.parse().expect("FAZAI_TEST_QDRANT has a port"));
    let store = Server::connect(&options).unwrap();
    suite(&store);
    migration(&store);
    clear(&store);
}

#[cfg(feature = "server")]
fn clear(store: &dyn Store) {
    for collection in Collection::ALL {
        let records = store.scroll(collection, None, BATCH_MAX, false).unwrap();
        let ids: Vec<Id> = records.iter().map(|record| record.id).collect();
        store.remove(collection, &ids).unwrap();
    }
}

fn suite(store: &dyn Store) {
    assert_eq!(
        store.prepare(KB, Some(DIMENSIONS)).unwrap(),
        Some(DIMENSIONS)
    );
    store.prepare(Collection::Memory, None).unwrap();
    assert_eq!(store.count(KB).unwrap(), 0, "only an empty store is tested");
    dimensions_are_checked(store);
    let mut records: Vec<Record> = (0..300)
        .map(|n| {
            record(
                if n % 5 == 0 { "b" } else { "a" },
                n,
                Some(vector(n, DIMENSIONS)),
            )
        })
        .collect();
    records.extend((300..310).map(|n| record("a", n, None)));
    let now = Timestamp::now();
    records[1].payload.expires = Some(now - SignedDuration::from_secs(1));
    records[2].payload.expires = Some(now + SignedDuration::from_hours(1));
    records[3].payload.status = Status::Retired;
    store.upsert(KB, &records).unwrap();
    assert_eq!(store.count(KB).unwrap(), records.len());
    assert_eq!(store.count(Collection::Memory).unwrap(), 0);
    records_come_back(store, &records);
    scrolling_meets_all(store, &mut records);
    nearest_is_exact(store, &records);
    changes_hold(store, &records);
}

fn dimensions_are_checked(store: &dyn Store) {
    let wrong = store
        .prepare(KB, Some(DIMENSIONS + 1))
        .unwrap_err()
        .to_string();
    for part in ["32", "33", "re-embed"] {
        assert!(wrong.contains(part), "{wrong}");
    }
    assert_eq!(store.prepare(KB, None).unwrap(), Some(DIMENSIONS));
    for bad in [
        vec![0.0; DIMENSIONS],
        vec![f32::NAN; DIMENSIONS],
        vec![1.0; 3],
        vec![],
    ] {
        assert!(
            store
                .upsert(KB, &[record("a", 0, Some(bad.clone()))])
                .is_err(),
            "{bad:?}"
        );
    }
    let many = vec![record("a", 0, None); BATCH_MAX + 1];
    assert!(matches!(
        store.upsert(KB, &many),
        Err(MemoryError::Invalid { .. })
    ));
    assert_eq!(store.count(KB).unwrap(), 0);
}

fn records_come_back(store: &dyn Store, records: &[Record]) {
    let ids = [records[7].id, Id::from_bytes([1; 16]), records[305].id];
    let found = store.get(KB, &ids).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].payload, records[7].payload);
    assert_eq!(found[1], records[305], "without a vector");
    let cosine = cosine(
        found[0].vector.as_ref().unwrap(),
        records[7].vector.as_ref().unwrap(),
    );
    assert!(cosine > 0.99999, "{cosine}");
    assert_eq!(store.get(KB, &[]).unwrap(), []);
}

fn scrolling_meets_all(store: &dyn Store, records: &mut [Record]) {
    records.sort_by_key(|record| record.id);
    let (mut after, mut met) = (None, Vec::new());
    loop {
        let page = store.scroll(KB, after, 37, false).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        assert!(page.iter().all(|record| record.vector.is_none()));
        met.extend(page.into_iter().map(|record| record.payload));
    }
    let expected: Vec<_> = records
        .iter()
        .map(|record| record.payload.clone())
        .collect();
    assert_eq!(met, expected);
}

fn nearest_is_exact(store: &dyn Store, records: &[Record]) {
    let mut filters = vec![filter("a"), filter("b"), filter("c")];
    filters.push(Filter {
        namespaces: vec![common::namespace("b"), common::namespace("a")],
        ..filter("a")
    });
    filters.push(Filter {
        tags: vec!["tag1".into(), "all".into()],
        ..filter("a")
    });
    filters.push(Filter {
        tags: vec!["none".into()],
        ..filter("a")
    });
    filters.push(Filter {
        kind: Some(Kind::Problem),
        ..filter("a")
    });
    filters.push(Filter {
        source: Some("source 1".into()),
        ..filter("b")
    });
    filters.push(Filter {
        source: Some("source".into()),
        ..filter("b")
    });
    for (filter, seed) in filters.iter().zip(1000..) {
        for k in [1, 10, 1000] {
            let query = vector(seed, DIMENSIONS);
            let found = store.nearest(KB, &query, k, filter).unwrap();
            let found: Vec<(Id, f32)> = found.iter().map(|s| (s.record.id, s.score)).collect();
            let expected = plainly(records, &query, k, filter);
            assert_eq!(ids(&found), ids(&expected), "{filter:?}");
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found.1 - expected.1).abs() < 1e-5,
                    "{found:?} {expected:?}"
                );
            }
        }
    }
    for bad in [vec![0.0; DIMENSIONS], vec![1.0; 3]] {
        assert!(store.nearest(KB, &bad, 1, &filters[0]).is_err());
    }
}

/// The reference: every record, one after the other.
fn plainly(records: &[Record], query: &[f32], k: usize, filter: &Filter) -> Vec<(Id, f32)> {
    let passing = records
        .iter()
        .filter(|record| filter.passes(&record.payload));
    let score = |record: &Record| Some((record.id, cosine(query, record.vector.as_ref()?)));
    let mut scores: Vec<(Id, f32)> = passing.filter_map(score).collect();
    scores.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    scores.truncate(k);
    scores
}

fn changes_hold(store: &dyn Store, records: &[Record]) {
    let mut changed = records[0].clone();
    changed.payload.text = "changed".into();
    changed.payload.namespace = common::namespace("moved");
    store.upsert(KB, std::slice::from_ref(&changed)).unwrap();
    assert_eq!(store.count(KB).unwrap(), records.len());
    let near = store
        .nearest(KB, &vector(1, DIMENSIONS), 9, &filter("moved"))
        .unwrap();
    assert_eq!(near.len(), usize::from(changed.vector.is_some()));
    let gone: Vec<Id> = records[..100].iter().map(|record| record.id).collect();
    store.remove(KB, &gone).unwrap();
    store.remove(KB, &gone).unwrap();
    store.compact().unwrap();
    assert_eq!(store.count(KB).unwrap(), records.len() - 100);
    assert_eq!(store.get(KB, &gone).unwrap(), []);
    nearest_is_exact(store, &records[100..]);
}

/// To another store and back, by lines and directly.
fn migration(store: &dyn Store) {
    let directory = tempfile::tempdir().unwrap();
    let other = Embedded::open(directory.path()).unwrap();
    let copied = portable::migrate(store, &other).unwrap();
    assert_eq!(copied, store.count(KB).unwrap());
    let lines = |store: &dyn Store| {
        let mut lines = Vec::new();
        portable::export(store, &mut lines).unwrap();
        lines
    };
    assert!(lines(store) == lines(&other), "the same to the last bit");
}

fn ids(scores: &[(Id, f32)]) -> Vec<Id> {
    scores.iter().map(|(id, _)| *id).collect()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}
