//! A day of a small network, made from a seed: what people and programs usually do, and attacks
//! among it whose truth is written down.

mod attacks;
mod lines;
mod usual;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fazai_watch::Category;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The stream, and who did what.
pub(crate) struct Stream {
    pub(crate) lines: Vec<String>,
    pub(crate) attacks: BTreeSet<(Category, String)>,
}

const DAY_S: f64 = 86_400.0;

struct Maker {
    rng: StdRng,
    lines: Vec<(f64, String)>,
    attacks: BTreeSet<(Category, String)>,
    next: u16,
}

pub(crate) fn make(seed: u64) -> Stream {
    let mut maker = Maker {
        rng: StdRng::seed_from_u64(seed),
        lines: Vec::new(),
        attacks: BTreeSet::new(),
        next: 0,
    };
    maker.usual();
    maker.unusual();
    maker.lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    Stream {
        lines: maker.lines.into_iter().map(|(_, line)| line).collect(),
        attacks: maker.attacks,
    }
}

/// So many times with equal pauses between them, in seconds.
fn steady(begin: f64, count: u32, pause: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |n| begin + f64::from(n) * pause)
}

impl Maker {
    fn say(&mut self, time: f64, line: String) {
        self.lines.push((time, line));
    }

    /// Says a line at each of these times, by the time and its number.
    fn say_at(
        &mut self,
        times: impl IntoIterator<Item = f64>,
        line: impl Fn(f64, usize) -> String,
    ) {
        let lines = times.into_iter().enumerate();
        self.lines
            .extend(lines.map(|(n, time)| (time, line(time, n))));
    }

    /// So many times with pauses that are off by up to `jitter` of them.
    fn unsteady(&mut self, begin: f64, count: u32, pause: f64, jitter: f64) -> Vec<f64> {
        let mut time = begin;
        let next = |_| {
            let now = time;
            time += pause * (1.0 + jitter * self.rng.random_range(-1.0..1.0));
            now
        };
        (0..count).map(next).collect()
    }

    fn some_time(&mut self) -> f64 {
        self.rng.random_range(0.0..DAY_S - 4_000.0)
    }

    /// A stranger, never the same twice.
    fn stranger(&mut self) -> Ipv4Addr {
        self.next += 1;
        let [high, low] = self.next.to_be_bytes();
        Ipv4Addr::new(203, 0, 113 + high, low)
    }

    /// A machine of our own, or somebody who may be here.
    fn friend(&mut self) -> Ipv4Addr {
        let mut part = |parts| self.rng.random_range(parts);
        Ipv4Addr::new(10, 0, part(0..3), part(2..250))
    }
}
