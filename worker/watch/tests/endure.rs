//! No line of a file is lost over rotations and kills: one process reads and is killed again and
//! again, another one writes and rotates. `FAZAI_ENDURE_LINES` says how many lines.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fazai_watch::input::{Follow, Input, Start};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Where the reader works; without it, this is the test.
const DIR: &str = "FAZAI_ENDURE_DIR";

const LINES: u64 = 300_000;
const END: u64 = u64::MAX;
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes down each line with its place, and only then that it was dealt with.
fn read(dir: &Path) {
    let (log, kept) = (dir.join("log"), dir.join("position"));
    let mut follow = Follow::new(&log, Some(&kept), Start::Beginning, 1_000).unwrap();
    let seen = dir.join("seen");
    let seen = OpenOptions::new().append(true).create(true).open(seen);
    let mut seen = BufWriter::new(seen.unwrap());
    // What a kill cut off is not a line of its own with the next one.
    seen.write_all(b"\n").unwrap();
    let (mut polls, mut over) = (0, false);
    while !over {
        let lines = follow.poll(&mut |at, line| {
            let number: u64 = std::str::from_utf8(line).unwrap().parse().unwrap();
            over |= number == END;
            writeln!(seen, "{at} {number}.").unwrap();
        });
        if lines.unwrap() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        seen.flush().unwrap();
        polls += 1;
        if polls % 3 == 0 {
            follow.commit().unwrap();
        }
    }
    follow.commit().unwrap();
}

struct Reader<'d> {
    dir: &'d Path,
    child: Child,
}

impl<'d> Reader<'d> {
    fn start(dir: &'d Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "no_line_is_lost_over_rotations_and_kills"]);
        let child = command.env(DIR, dir).stdout(Stdio::null()).spawn();
        Self {
            dir,
            child: child.unwrap(),
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        *self = Self::start(self.dir);
    }

    /// Waits until it has come to the file that has the name now: of two rotations between two
    /// looks nobody could know the first.
    fn reached(&self, inode: u64) {
        let begun = Instant::now();
        let wanted = format!("\"inode\":{inode},");
        while !fs::read_to_string(self.dir.join("position")).is_ok_and(|it| it.contains(&wanted)) {
            assert!(begun.elapsed() < PATIENCE, "the reader does not come on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn no_line_is_lost_over_rotations_and_kills() {
    if let Some(dir) = std::env::var_os(DIR) {
        return read(Path::new(&dir));
    }
    let total = std::env::var("FAZAI_ENDURE_LINES");
    let total = total.map_or(LINES, |lines| lines.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut rng = StdRng::seed_from_u64(3);
    let log = dir.join("log");
    let mut reader = Reader::start(dir);
    let (mut kills, mut rotations) = (0, 0);
    let mut next = 0;
    let open = || {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap()
    };
    let mut file = BufWriter::new(open());
    while next < total {
        for _ in 0..rng.random_range(1..total / 50) {
            writeln!(file, "{next}").unwrap();
            next += 1;
        }
        file.flush().unwrap();
        match rng.random_range(0..4) {
            0 => {
                use std::os::unix::fs::MetadataExt;
                reader.reached(file.get_ref().metadata().unwrap().ino());
                fs::rename(&log, dir.join("log.1")).unwrap();
                // Its writer goes on with the old file for a while.
                writeln!(file, "{next}").unwrap();
                next += 1;
                file.flush().unwrap();
                file = BufWriter::new(open());
                rotations += 1;
            }
            1 | 2 => {
                std::thread::sleep(Duration::from_millis(rng.random_range(0..60)));
                reader.kill();
                kills += 1;
            }
            _ => {}
        }
    }
    writeln!(file, "{END}").unwrap();
    file.flush().unwrap();
    let begun = Instant::now();
    while reader.child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the reader does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let places = check(&dir.join("seen"), next);
    println!("{next} lines, {rotations} rotations, {kills} kills: {places} came again");
    assert!(kills > 5 && rotations > 3, "{kills} {rotations}");
}

/// Each line was seen, and wherever it was seen again it had the same place. How often that was.
fn check(seen: &Path, total: u64) -> u64 {
    let mut places: Vec<Option<u64>> = vec![None; usize::try_from(total).unwrap()];
    let mut again = 0;
    let mut lines = BufReader::new(File::open(seen).unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // A kill may cut a line; it was not committed then, and comes again.
        if let Some((at, number)) = line
            .trim_end()
            .strip_suffix('.')
            .and_then(|it| it.split_once(' '))
            && let Some(place) =
                places.get_mut(usize::try_from(number.parse::<u64>().unwrap()).unwrap())
        {
            let at = at.parse().unwrap();
            again += u64::from(place.is_some());
            assert_eq!(*place.get_or_insert(at), at, "line {number}");
        }
        line.clear();
    }
    let lost = places.iter().filter(|place| place.is_none()).count();
    assert_eq!(lost, 0);
    again
}
