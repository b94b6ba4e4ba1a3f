use super::*;
use crate::knowledge::Entry;
use crate::record::{Kind, Namespace};
use jiff::SignedDuration;

fn record(text: &str) -> Record {
    let namespace = Namespace::new("a").unwrap();
    Entry::new(namespace, Kind::Note, text)
        .into_record(Timestamp::now())
        .unwrap()
}

/// The order of texts that are found by both ways, in these orders.
fn order(near: &[&Record], matches: &[&Record]) -> Vec<String> {
    let scored = |record: &&Record| Scored {
        record: (*record).clone(),
        score: 0.5,
    };
    let found = |record: &&Record| Match {
        id: record.id,
        score: 1.0,
        words: vec!["word".into()],
    };
    let near: Vec<Scored> = near.iter().map(scored).collect();
    let payloads = near
        .iter()
        .map(|scored| &scored.record)
        .chain(matches.iter().copied());
    let payloads = payloads
        .map(|record| (record.id, record.payload.clone()))
        .collect();
    let matches = matches.iter().map(found).collect();
    let hits = fuse(&near, matches, &payloads, 10, Timestamp::now());
    hits.into_iter()
        .map(|hit| hit.record.payload.text)
        .collect()
}

#[test]
fn what_both_find_goes_first() {
    let (one, two, three) = (record("one"), record("two"), record("three"));
    let order_of_three = order(&[&one, &two], &[&three, &two]);
    assert_eq!(order_of_three[0], "two");
    // Equal scores go by id.
    let first = if one.id < three.id { "one" } else { "three" };
    assert_eq!(order_of_three[1], first);
    assert_eq!(order(&[&one], &[]), ["one"]);
    assert_eq!(order(&[], &[&two, &one]), ["two", "one"]);
}

#[test]
fn use_and_age_count_a_little() {
    let (mut helped, mut failed, mut old) = (record("helped"), record("failed"), record("old"));
    (0..20).for_each(|_| helped.payload.mark(true));
    (0..20).for_each(|_| failed.payload.mark(false));
    old.payload.created -= SignedDuration::from_hours(24 * 900);
    let plain = record("plain");
    assert_eq!(
        order(&[], &[&plain, &failed, &old, &helped]),
        ["plain", "helped", "old", "failed"]
    );
    // A good rank is worth more.
    let others: Vec<Record> = (0..20).map(|n| record(&format!("other {n}"))).collect();
    let mut matches = vec![&failed];
    matches.extend(&others);
    matches.push(&helped);
    let order = order(&[], &matches);
    let place = |text: &str| order.iter().position(|found| found == text);
    assert!(
        place("failed") < Some(10) && place("helped").is_none(),
        "{order:?}"
    );
}

#[test]
fn the_why_names_everything() {
    let mut record = record("text");
    record.payload.mark(true);
    record.payload.created -= SignedDuration::from_hours(24 * 180);
    let near = [Scored {
        record: record.clone(),
        score: 0.871,
    }];
    let matches = vec![Match {
        id: record.id,
        score: 3.0,
        words: vec!["disk".into(), "full".into()],
    }];
    let payloads = HashMap::from([(record.id, record.payload)]);
    let hits = fuse(&near, matches, &payloads, 1, Timestamp::now());
    let expected = "number 1 by meaning (cosine 0.87); number 1 by words (disk, full); \
                    used 1 times, 100 % worked (+1.2 %); 180 days old (-1.5 %)";
    assert_eq!(hits[0].why, expected);
}
