//! How good the rules are, without a model: precision and recall by category, on streams whose
//! truth is known because they are made, and on lines in real formats that a person labelled.
//!
//! `cargo test -p fazai-watch --test labelled -- --nocapture` prints the tables of the README.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod labelled {
    pub(crate) mod stream;
}

use std::collections::{BTreeMap, BTreeSet};

use fazai_watch::detect::Thresholds;
use fazai_watch::signature::Signatures;
use fazai_watch::time::Clock;
use fazai_watch::{Category, Incident, Place, Severity, Watch};

use self::labelled::stream;

fn incidents<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<Incident> {
    let (thresholds, signatures) = (Thresholds::default(), Signatures::default());
    let mut watch = Watch::new(Clock::of_machine(), thresholds, signatures);
    for (at, line) in (1..).zip(lines) {
        watch.line(Place { source: 0, at }, line.as_bytes());
    }
    // What the rules leave to a model has no severity yet.
    let mut found = watch.take_incidents(Severity::Low);
    found.retain(|incident| incident.severity >= Severity::Low);
    found
}

/// How many were found rightly, found wrongly, and missed.
#[derive(Default, Clone, Copy)]
struct Score {
    right: u32,
    wrong: u32,
    missed: u32,
}

impl Score {
    fn precision(self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong).max(1))
    }

    fn recall(self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.missed).max(1))
    }
}

#[derive(Default)]
struct Scores(BTreeMap<&'static str, Score>);

impl Scores {
    fn of(&mut self, category: Category) -> &mut Score {
        self.0.entry(category.name()).or_default()
    }

    fn all(&self) -> Score {
        let add = |a: Score, b: &Score| Score {
            right: a.right + b.right,
            wrong: a.wrong + b.wrong,
            missed: a.missed + b.missed,
        };
        self.0.values().fold(Score::default(), add)
    }

    fn print(&self, title: &str) {
        println!(
            "\n| {title} | right | wrong | missed | precision | recall |\n|---|---|---|---|---|---|"
        );
        let all = ("all", self.all());
        for (name, score) in self
            .0
            .iter()
            .map(|(name, score)| (*name, *score))
            .chain([all])
        {
            let Score {
                right,
                wrong,
                missed,
            } = score;
            let (precision, recall) = (score.precision(), score.recall());
            println!("| {name} | {right} | {wrong} | {missed} | {precision:.2} | {recall:.2} |");
        }
    }
}

/// Attacks among the usual, each by an address of its own; some are slow or small on purpose.
#[test]
fn attacks_in_a_made_stream_are_found_and_little_else_is() {
    let stream = stream::make(7);
    let mut found: BTreeSet<(Category, String)> = BTreeSet::new();
    for incident in incidents(stream.lines.iter().map(String::as_str)) {
        let who = incident.actor.map_or(incident.subject, |ip| ip.to_string());
        found.insert((incident.category, who));
    }
    let mut scores = Scores::default();
    for truth in &stream.attacks {
        match found.remove(truth) {
            true => scores.of(truth.0).right += 1,
            false => {
                println!("missed: {} {}", truth.0, truth.1);
                scores.of(truth.0).missed += 1;
            }
        }
    }
    for (category, who) in found {
        println!("wrong: {category} {who}");
        scores.of(category).wrong += 1;
    }
    scores.print("made stream");
    let all = scores.all();
    assert!(all.precision() >= 0.95, "precision {}", all.precision());
    assert!(all.recall() >= 0.85, "recall {}", all.recall());
}

/// One line at a time: what has to be counted over many lines is nothing yet.
#[test]
fn lines_are_called_what_a_person_calls_them() {
    let mut scores = Scores::default();
    let mut milder = 0;
    let lines = include_str!("labelled/lines.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (label, line) = line.split_once('\t').unwrap();
        let found = incidents([line]);
        let found = found.first();
        let wanted = label.split_once(' ').map(|(category, severity)| {
            let severity = Severity::ALL.into_iter().find(|one| one.name() == severity);
            (Category::of_name(category).unwrap(), severity.unwrap())
        });
        let same = wanted.map(|(category, _)| category) == found.map(|found| found.category);
        if !same {
            println!("{label}, and not {:?}: {line}", found.map(|it| it.category));
        }
        match (wanted, found) {
            (Some((category, least)), Some(found)) if same => {
                milder += u32::from(found.severity < least);
                scores.of(category).right += 1;
            }
            (wanted, found) => {
                if let Some((category, _)) = wanted {
                    scores.of(category).missed += 1;
                }
                if let Some(found) = found {
                    scores.of(found.category).wrong += 1;
                }
            }
        }
    }
    scores.print("labelled lines");
    println!("milder than a person: {milder}");
    let all = scores.all();
    assert!(all.precision() >= 0.8, "precision {}", all.precision());
    assert!(all.recall() >= 0.6, "recall {}", all.recall());
}
