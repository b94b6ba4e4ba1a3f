use super::*;
use crate::knowledge::Entry;
use crate::store::Stamp;

fn record(namespace: &str, text: &str) -> Record {
    let namespace = Namespace::new(namespace).unwrap();
    Entry::new(namespace, Kind::Note, text)
        .into_record(Timestamp::now())
        .unwrap()
}

fn filter(namespace: &str) -> Filter {
    Filter::of(Namespace::new(namespace).unwrap())
}

fn ids(found: &[Match]) -> Vec<Id> {
    found.iter().map(|found| found.id).collect()
}

#[test]
fn rare_words_and_short_texts_go_first() {
    let mut index = Index::default();
    let records = [
        record("a", "the quick fox"),
        record(
            "a",
            "the quick dog and the other quick dog and some more words",
        ),
        record("a", "the dog"),
    ];
    index.put(&records);
    let found = index.search("the quick fox", 9, &filter("a"));
    assert_eq!(ids(&found), [records[0].id, records[1].id, records[2].id]);
    assert_eq!(found[0].words, ["fox", "quick", "the"]);
    assert_eq!(index.search("the quick fox", 1, &filter("a")).len(), 1);
    assert_eq!(index.search("nothing", 9, &filter("a")), []);
    assert_eq!(index.search("the", 9, &filter("b")), []);
}

#[test]
fn an_index_that_changed_is_like_a_new_one() {
    let mut index = Index::default();
    let records: Vec<Record> = (0..3000)
        .map(|n| record("a", &format!("word{} word{} common", n % 7, n % 11)))
        .collect();
    let mut records: Vec<Record> = records
        .into_iter()
        .zip(0_u64..)
        .map(|(mut record, n)| {
            record.id = Id::of(&record.payload.namespace, &n.to_string());
            record
        })
        .collect();
    index.put(&records);
    for record in records.iter_mut().step_by(2) {
        record.payload.text.push_str(" changed");
    }
    index.put(&records);
    index.remove(
        &records[1000..]
            .iter()
            .map(|record| record.id)
            .collect::<Vec<_>>(),
    );
    records.truncate(1000);
    assert!(index.docs.len() < 3000, "the dead are forgotten");
    // Only counted as used: the words are not taken apart again.
    records[0].payload.mark(true);
    index.put(&records[..1]);
    let mut fresh = Index::default();
    fresh.put(&records);
    assert_eq!(index.len(), fresh.len());
    assert_eq!(index.length, fresh.length);
    for query in ["word3 changed", "common", "word6 word10"] {
        let (one, other) = (
            index.search(query, 50, &filter("a")),
            fresh.search(query, 50, &filter("a")),
        );
        assert_eq!(one.len(), 50);
        assert_eq!(one[0].words, other[0].words);
        assert_eq!(index.doc(records[0].id).map(|doc| doc.usage_count), Some(1));
    }
}

#[test]
fn copies_stay_within_their_limit() {
    let mut index = Index::with_copies();
    let one = record("a", "some text");
    index.put(std::slice::from_ref(&one));
    assert_eq!(index.copy(one.id), Some(&one.payload));
    index.copies.as_mut().unwrap().bytes = COPIES_BYTES_MAX;
    let two = record("a", "other text");
    index.put(std::slice::from_ref(&two));
    assert_eq!(index.copy(two.id), None);
    index.remove(&[one.id]);
    assert_eq!(
        index.copies.as_ref().unwrap().bytes,
        COPIES_BYTES_MAX - "some text".len()
    );
}

fn numbered(count: usize) -> Vec<Record> {
    let one = |n: usize| record("a", &format!("word{} number{n} common", n % 7));
    (0..count).map(one).collect()
}

fn stamps(records: &[Record], stamp: Stamp) -> HashMap<Id, Stamp> {
    records.iter().map(|record| (record.id, stamp)).collect()
}

#[test]
fn an_index_that_was_kept_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words");
    let records = numbered(300);
    let mut index = Index::default();
    index.put(&records);
    index.remove(&[records[7].id]);
    assert_eq!(index.unkept(), 301);
    index.keep(&path, &stamps(&records, 5)).unwrap();
    assert_eq!(index.unkept(), 0);

    // The second has changed since, the third is gone, and the others are as they were.
    let mut now = stamps(&records, 5);
    now.insert(records[1].id, 6);
    now.remove(&records[2].id);
    let kept = Index::kept(&path, &now).unwrap();
    assert_eq!((kept.len(), kept.docs().count()), (297, 297));
    for gone in [1, 2, 7] {
        assert!(kept.doc(records[gone].id).is_none());
        index.remove(&[records[gone].id]);
    }
    assert_eq!(kept.length, index.length);
    for query in ["word3 common", "number17", "number1", "number7"] {
        let found = kept.search(query, 50, &filter("a"));
        assert_eq!(found, index.search(query, 50, &filter("a")), "{query}");
    }
    assert_eq!(kept.select(&filter("a")), index.select(&filter("a")));
}

#[test]
fn a_kept_index_that_is_damaged_is_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words");
    let (mut index, records) = (Index::default(), numbered(30));
    let all = stamps(&records, 5);
    assert!(Index::kept(&path, &all).is_none());
    index.put(&records);
    index.keep(&path, &all).unwrap();
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&path, &bad).unwrap();
        assert!(Index::kept(&path, &all).is_none(), "{at}");
        std::fs::write(&path, &good[..at]).unwrap();
        assert!(Index::kept(&path, &all).is_none(), "{at}");
    }
    std::fs::write(&path, &good).unwrap();
    assert_eq!(Index::kept(&path, &all).unwrap().len(), 30);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}
