//! Learning: what is known already, what only looks like it, and what becomes of tags and counts.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use common::{added, embedder, filter, namespace, note, open};
use fazai_memory::{Collection, Committed, Entry, Filter, Id, Memory, Options};

#[test]
fn what_is_known_is_not_added_again() {
    let directory = tempfile::tempdir().unwrap();
    for embedder in [None, embedder()] {
        let memory = Memory::open(Options::new(directory.path()), embedder).unwrap();
        let name = format!("user{}", memory.embedder_name().is_some());
        let text = "The disk is full because the journal of systemd has grown without limit";
        let id = added(memory.commit(note(&name, text)).unwrap());
        let spaced = note(&name, &text.replace(' ', "\n  "));
        assert_eq!(
            memory.commit(spaced).unwrap().committed,
            Committed::Same(id)
        );
        let near = note(&name, &format!("{}!", text.to_uppercase()));
        assert_eq!(memory.commit(near).unwrap().committed, Committed::Near(id));
        added(
            memory
                .commit(note("other", text))
                .unwrap_or_else(|error| panic!("{error}")),
        );
        memory
            .remove(
                &filter("other"),
                Id::of(
                    &namespace("other"),
                    &memory.get(&filter(&name), id).unwrap().payload.content_hash,
                ),
            )
            .unwrap();
        added(
            memory
                .commit(note(&name, "The network is down because the cable is out"))
                .unwrap(),
        );
    }
}

/// Long texts that differ in one word are alike by any measure, and say something else.
#[test]
fn a_correction_is_kept_and_says_what_it_is_near_to() {
    let text = "To let the relay send mail again, stop postfix, empty the queue in the spool \
                directory, set relayhost in main.cf to the address of the provider, do not open port \
                25 in the firewall, and start postfix with systemctl start postfix -q";
    for embedder in [None, embedder()] {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::open(Options::new(directory.path()), embedder).unwrap();
        let first = added(memory.commit(note("a", text)).unwrap());
        for (from, to) in [
            ("port 25", "port 587"),
            ("do not open", "do open"),
            ("systemctl start", "systemctl restart"),
            ("postfix -q", "postfix -Q"),
            ("main.cf", "master.cf"),
        ] {
            let commit = memory.commit(note("a", &text.replace(from, to))).unwrap();
            assert!(commit.near.is_some(), "{to}: {commit:?}");
            added(commit);
        }
        let shouted = memory.commit(note("a", &text.replace("To let the", "TO LET")));
        assert_eq!(shouted.unwrap().committed, Committed::Near(first));
        let other = memory.commit(note("a", "nginx serves pages on port 80"));
        let other = other.unwrap();
        assert_eq!(other.near, None);
        added(other);
        assert_eq!(memory.stats(Collection::Knowledge).unwrap().records, 7);
    }
}

#[test]
fn what_is_known_gets_the_tags_that_it_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    let tagged = |text: &str, tags: &[&str]| Entry {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..note("a", text)
    };
    let id = added(memory.commit(tagged("The relay waits", &["mail"])).unwrap());
    let tags = || memory.get(&filter("a"), id).unwrap().payload.tags;
    let same = memory.commit(tagged("The relay waits", &["mail", "night"]));
    assert_eq!(same.unwrap().committed, Committed::Same(id));
    assert_eq!(tags(), ["mail", "night"]);
    let near = memory.commit(tagged("the relay waits.", &["b"]));
    assert_eq!(near.unwrap().committed, Committed::Near(id));
    assert_eq!(tags(), ["mail", "night", "b"]);
    let by_tag = Filter {
        tags: vec!["night".into()],
        ..filter("a")
    };
    assert_eq!(memory.search("relay", 5, &by_tag).unwrap().hits.len(), 1);
    assert!(memory.commit(tagged("the relay waits", &["a\nb"])).is_err());
}

#[test]
fn counts_are_of_those_who_may_see_it() {
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    for (who, text) in [
        ("a", "one"),
        ("a", "two"),
        ("b", "three"),
        ("shared", "four"),
    ] {
        added(memory.commit(note(who, text)).unwrap());
    }
    let of = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| namespace(name)).collect();
        let stats = memory.stats_of(Collection::Knowledge, &names).unwrap();
        assert_eq!(stats.records, stats.with_vector);
        stats.records
    };
    assert_eq!(
        [of(&["a", "shared"]), of(&["b"]), of(&["nobody"]), of(&[])],
        [3, 1, 0, 0]
    );
}
