//! Days of episodes: written, kept, found again, and given up.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fazai_memory::MemoryError;
use fazai_memory::episodes::{
    DAY_BYTES_MAX, EpisodeOptions, EpisodePlace, Episodes, LINE_BYTES_MAX,
};
use jiff::Timestamp;
use serde_json::json;

fn options(home: &Path) -> EpisodeOptions {
    EpisodeOptions {
        spool: home.join("spool"),
        place: EpisodePlace::Directory(home.join("days")),
        days: 30,
        bytes_high: 1 << 20,
        bytes_low: 1 << 19,
    }
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

const NOON: &str = "2026-06-02T12:00:00Z";

fn lines(episodes: &Episodes, day: &str) -> Vec<String> {
    let text = episodes.read(day.parse().unwrap()).unwrap();
    text.unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_day_is_a_file_of_lines() {
    let home = tempfile::tempdir().unwrap();
    let episodes = Episodes::open(options(home.path())).unwrap();
    for (time, number) in [
        ("2026-06-01T23:59:59Z", 1),
        ("2026-06-02T00:00:00Z", 2),
        (NOON, 3),
    ] {
        assert!(
            episodes
                .append(at(time), &json!({ "number": number }))
                .unwrap()
        );
    }
    // Known before anything is in the store, and after.
    assert_eq!(
        lines(&episodes, "2026-06-02"),
        [r#"{"number":2}"#, r#"{"number":3}"#]
    );
    assert_eq!(episodes.flush(at(NOON)).unwrap(), 2);
    assert_eq!(episodes.flush(at(NOON)).unwrap(), 0, "nothing has changed");
    let kept = fs::read_to_string(home.path().join("days/2026-06-01.ndjson")).unwrap();
    assert_eq!(kept, "{\"number\":1}\n");
    // The day that is over is no longer here.
    assert!(!home.path().join("spool/2026-06-01.ndjson").exists());
    episodes.append(at(NOON), &json!({ "number": 4 })).unwrap();
    assert_eq!(episodes.flush(at(NOON)).unwrap(), 1);
    assert_eq!(lines(&episodes, "2026-06-02").len(), 3);
    let days: Vec<String> = episodes
        .days()
        .unwrap()
        .iter()
        .map(|day| day.day.to_string())
        .collect();
    assert_eq!(days, ["2026-06-01", "2026-06-02"]);
    assert!(
        episodes
            .read("2020-01-01".parse().unwrap())
            .unwrap()
            .is_none()
    );
}

#[test]
fn what_a_killed_process_leaves_is_no_line() {
    let home = tempfile::tempdir().unwrap();
    let first = Episodes::open(options(home.path())).unwrap();
    first.append(at(NOON), &json!({ "number": 1 })).unwrap();
    assert!(
        matches!(
            Episodes::open(options(home.path())),
            Err(MemoryError::InUse { .. })
        ),
        "one process at a time"
    );
    drop(first);
    let file = home.path().join("spool/2026-06-02.ndjson");
    for half in [
        "{\"numb",
        "{\"number\":2}",
        "\0\0\0\0\n",
        "{\"a\":1}\n\0\0\n{\"b",
    ] {
        let before = fs::read_to_string(&file).unwrap();
        OpenOptions::new()
            .append(true)
            .open(&file)
            .unwrap()
            .write_all(half.as_bytes())
            .unwrap();
        let episodes = Episodes::open(options(home.path())).unwrap();
        assert!(
            episodes
                .append(at(NOON), &json!({ "after": half.len() }))
                .unwrap()
        );
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(&before), "{text}");
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(
            text.ends_with(&format!("{{\"after\":{}}}\n", half.len())),
            "{text}"
        );
    }
}

/// A process that writes is killed again and again; every line that is there is whole, and none of
/// those that were acknowledged is missing.
#[test]
fn a_kill_loses_at_most_the_line_that_is_being_written() {
    let home = tempfile::tempdir().unwrap();
    if let Ok(dir) = std::env::var("FAZAI_TEST_EPISODES") {
        let episodes = Episodes::open(options(Path::new(&dir))).unwrap();
        let from: u64 = std::env::var("FAZAI_TEST_FROM").unwrap().parse().unwrap();
        for number in from.. {
            let wrote = episodes.append(
                at(NOON),
                &json!({ "number": number, "text": "x".repeat(900) }),
            );
            if !wrote.unwrap() {
                break;
            }
            episodes.flush(at(NOON)).unwrap();
            println!("wrote {number}");
        }
        return;
    }
    let mut acknowledged = 0_u64;
    for _ in 0..5 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_kill_loses_at_most_the_line_that_is_being_written",
                "--nocapture",
            ])
            .env("FAZAI_TEST_EPISODES", home.path())
            .env("FAZAI_TEST_FROM", (acknowledged + 1).to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        let until = acknowledged + 20;
        while acknowledged < until {
            let mut line = String::new();
            assert!(
                std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0,
                "it ended"
            );
            if let Some(number) = line.trim().strip_prefix("wrote ") {
                acknowledged = number.parse().unwrap();
            }
        }
        child.kill().unwrap();
        // What it wrote until it was dead counts as well.
        for line in std::io::BufRead::lines(said).map_while(Result::ok) {
            if let Some(number) = line.trim().strip_prefix("wrote ") {
                acknowledged = number.parse().unwrap_or(acknowledged);
            }
        }
        child.wait().unwrap();
        let episodes = Episodes::open(options(home.path())).unwrap();
        let mut numbers: Vec<u64> = Vec::new();
        for line in lines(&episodes, "2026-06-02") {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            numbers.push(line["number"].as_u64().unwrap());
        }
        let last = *numbers.last().unwrap();
        numbers.dedup();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
        assert!(last >= acknowledged, "{last} of {acknowledged}");
        acknowledged = last;
        let kept = fs::read_to_string(home.path().join("days/2026-06-02.ndjson")).unwrap();
        assert!(kept.is_empty() || kept.ends_with('\n'));
    }
}

#[test]
fn another_spool_adds_to_the_day_and_takes_nothing_away() {
    let home = tempfile::tempdir().unwrap();
    let first = Episodes::open(options(home.path())).unwrap();
    first.append(at(NOON), &json!({ "from": "first" })).unwrap();
    first.flush(at(NOON)).unwrap();
    let mut other = options(home.path());
    other.spool = home.path().join("another");
    let refused = Episodes::open(other.clone());
    assert!(
        matches!(refused, Err(MemoryError::InUse { .. })),
        "one at a time: {refused:?}"
    );
    drop(first);
    let second = Episodes::open(other).unwrap();
    second
        .append(at(NOON), &json!({ "from": "second" }))
        .unwrap();
    let both = [r#"{"from":"first"}"#, r#"{"from":"second"}"#];
    assert_eq!(lines(&second, "2026-06-02"), both);
    second.flush(at(NOON)).unwrap();
    second
        .append(at(NOON), &json!({ "from": "third" }))
        .unwrap();
    second.flush(at(NOON)).unwrap();
    let kept = fs::read_to_string(home.path().join("days/2026-06-02.ndjson")).unwrap();
    assert_eq!(kept.lines().count(), 3, "{kept}");
    // A spool that a power cut took lines from gets them back.
    drop(second);
    fs::write(
        home.path().join("another/2026-06-02.ndjson"),
        "{\"from\":\"first\"}\n",
    )
    .unwrap();
    let mut other = options(home.path());
    other.spool = home.path().join("another");
    let third = Episodes::open(other).unwrap();
    third.flush(at(NOON)).unwrap();
    assert_eq!(
        fs::read_to_string(home.path().join("days/2026-06-02.ndjson")).unwrap(),
        kept
    );
}

#[test]
fn old_days_go_and_so_do_too_many() {
    let home = tempfile::tempdir().unwrap();
    let episodes = Episodes::open(EpisodeOptions {
        bytes_high: 5000,
        bytes_low: 3000,
        ..options(home.path())
    });
    let episodes = episodes.unwrap();
    let days = home.path().join("days");
    for day in [
        "2026-04-01",
        "2026-05-02",
        "2026-05-03",
        "2026-05-30",
        "2026-06-01",
        "2026-06-02",
    ] {
        fs::write(days.join(format!("{day}.ndjson")), "x".repeat(1200)).unwrap();
    }
    // What is not ours stays, and what a killed process was about to put is gone at the next start.
    fs::write(days.join("notes.txt"), "x").unwrap();
    fs::write(days.join("2026-06-02.ndjson#1"), "x").unwrap();
    let report = episodes.gc(at(NOON)).unwrap();
    assert_eq!((report.expired, report.evicted, report.bytes), (2, 2, 2400));
    let left: Vec<String> = episodes
        .days()
        .unwrap()
        .iter()
        .map(|day| day.day.to_string())
        .collect();
    assert_eq!(left, ["2026-06-01", "2026-06-02"]);
    assert_eq!(episodes.gc(at(NOON)).unwrap().bytes, 2400);
    drop(episodes);
    Episodes::open(options(home.path())).unwrap();
    let mut names: Vec<_> = fs::read_dir(&days)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "2026-06-01.ndjson",
            "2026-06-02.ndjson",
            "lock",
            "notes.txt"
        ]
    );
}

#[test]
fn there_is_an_end_to_a_line_and_to_a_day() {
    let home = tempfile::tempdir().unwrap();
    let episodes = Episodes::open(options(home.path())).unwrap();
    let long = episodes.append(at(NOON), &"x".repeat(LINE_BYTES_MAX));
    assert!(matches!(long, Err(MemoryError::Invalid { .. })), "{long:?}");
    let line = "x".repeat(LINE_BYTES_MAX - 2);
    let mut count = 0_u64;
    while episodes.append(at(NOON), &line).unwrap() {
        count += 1;
    }
    assert_eq!(count, DAY_BYTES_MAX / (LINE_BYTES_MAX as u64 + 1));
    assert!(
        episodes.append(at("2026-06-03T00:00:00Z"), &line).unwrap(),
        "a new day has room"
    );
    let wrong = EpisodeOptions {
        bytes_low: 2 << 20,
        ..options(&home.path().join("other"))
    };
    assert!(Episodes::open(wrong).is_err());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn nobody_else_reads_what_was_asked() {
    let home = tempfile::tempdir().unwrap();
    let (days, day) = (
        home.path().join("days"),
        home.path().join("days/2026-06-02.ndjson"),
    );
    let episodes = Episodes::open(options(home.path())).unwrap();
    episodes.append(at(NOON), &json!({ "number": 1 })).unwrap();
    episodes.flush(at(NOON)).unwrap();
    assert_eq!((mode(&days), mode(&day)), (0o700, 0o600));
    drop(episodes);
    // What an earlier one left open is closed.
    fs::set_permissions(&day, Permissions::from_mode(0o644)).unwrap();
    drop(Episodes::open(options(home.path())).unwrap());
    assert_eq!(mode(&day), 0o600);
    for open in [0o755, 0o740, 0o720, 0o701] {
        fs::set_permissions(&days, Permissions::from_mode(open)).unwrap();
        let refused = Episodes::open(options(home.path())).unwrap_err();
        let hint = format!("chmod 700 {}", days.display());
        assert!(refused.to_string().contains(&hint), "{refused}");
    }
    fs::set_permissions(&days, Permissions::from_mode(0o700)).unwrap();
    Episodes::open(options(home.path())).unwrap();
}

#[test]
fn the_spool_and_the_days_are_apart() {
    let home = tempfile::tempdir().unwrap();
    symlink(home.path(), home.path().join("same")).unwrap();
    for (spool, days) in [
        ("a", "a"),
        ("a", "same/a"),
        ("a", "a/days"),
        ("a/spool", "a"),
        ("a", "b/../a"),
    ] {
        fs::create_dir_all(home.path().join("b")).unwrap();
        let refused = Episodes::open(EpisodeOptions {
            spool: home.path().join(spool),
            place: EpisodePlace::Directory(home.path().join(days)),
            ..options(home.path())
        });
        let named = matches!(
            refused,
            Err(MemoryError::Invalid {
                field: "episodes_dir",
                ..
            })
        );
        assert!(named, "{spool} {days}: {refused:?}");
    }
    let beside = EpisodeOptions {
        spool: home.path().join("episodes.open"),
        place: EpisodePlace::Directory(home.path().join("episodes")),
        ..options(home.path())
    };
    Episodes::open(beside).unwrap();
}

#[test]
fn what_is_removed_while_it_is_written_comes_back_and_takes_nothing_away() {
    let home = tempfile::tempdir().unwrap();
    let (spool, days) = (home.path().join("spool"), home.path().join("days"));
    let episodes = Episodes::open(options(home.path())).unwrap();
    let mut number = 0;
    let mut append = || {
        number += 1;
        let line = json!({ "number": number });
        assert!(episodes.append(at(NOON), &line).unwrap());
    };
    let kept = || lines(&episodes, "2026-06-02").len();
    append();
    episodes.flush(at(NOON)).unwrap();
    // The file.
    fs::remove_file(spool.join("2026-06-02.ndjson")).unwrap();
    append();
    assert!(episodes.is_behind().unwrap(), "though it is as long");
    assert_eq!(kept(), 2);
    episodes.flush(at(NOON)).unwrap();
    assert_eq!(kept(), 2);
    // The directory, or another one in its place.
    fs::remove_dir_all(&spool).unwrap();
    append();
    append();
    assert!(matches!(
        Episodes::open(options(home.path())),
        Err(MemoryError::InUse { .. })
    ));
    episodes.flush(at(NOON)).unwrap();
    assert_eq!(kept(), 4);
    fs::rename(&spool, home.path().join("spool.old")).unwrap();
    fs::create_dir(&spool).unwrap();
    append();
    episodes.flush(at(NOON)).unwrap();
    assert_eq!(kept(), 5);
    fs::remove_dir_all(&spool).unwrap();
    assert!(!episodes.is_behind().unwrap());
    assert_eq!(kept(), 5);
    // Where the days are kept.
    append();
    episodes.flush(at(NOON)).unwrap();
    fs::remove_dir_all(&days).unwrap();
    append();
    episodes.flush(at(NOON)).unwrap();
    assert_eq!(kept(), 7);
    assert_eq!(mode(&days), 0o700);
    assert_eq!(mode(&days.join("2026-06-02.ndjson")), 0o600);
}

#[cfg(feature = "s3")]
mod s3 {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use fazai_memory::episodes::S3Options;

    use super::*;

    /// A bucket on this machine: just what S3 answers to put, get, list and delete. It refuses
    /// whoever does not sign.
    #[derive(Default)]
    struct Bucket {
        objects: Mutex<BTreeMap<String, Vec<u8>>>,
        signed: Mutex<Vec<String>>,
    }

    impl Bucket {
        fn serve() -> (Arc<Self>, String) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/logs/host one", listener.local_addr().unwrap());
            let bucket = Arc::new(Self::default());
            let served = Arc::clone(&bucket);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let served = Arc::clone(&served);
                    std::thread::spawn(move || {
                        let mut reader = BufReader::new(stream.unwrap());
                        while served.answer(&mut reader).is_some() {}
                    });
                }
            });
            (bucket, url)
        }

        fn answer(&self, reader: &mut BufReader<TcpStream>) -> Option<()> {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_owned());
            }
            let header = |name: &str| {
                let found = lines.iter().find_map(|line| {
                    line.split_once(": ")
                        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                });
                found.map(|(_, value)| value.to_owned())
            };
            let length = header("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let mut words = lines[0].split(' ');
            let (method, target) = (words.next()?, words.next()?);
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut objects = self.objects.lock().unwrap();
            let (status, answer) = match header("authorization") {
                None => (
                    "403 Forbidden",
                    b"<Error><Code>AccessDenied</Code></Error>".to_vec(),
                ),
                Some(signature) => {
                    self.signed.lock().unwrap().push(signature);
                    match method {
                        "PUT" => {
                            objects.insert(path.to_owned(), body);
                            ("200 OK", Vec::new())
                        }
                        "DELETE" => {
                            objects.remove(path);
                            ("204 No Content", Vec::new())
                        }
                        "POST" if query == "delete" => {
                            let text = String::from_utf8(body).unwrap();
                            let keys = text.split("<Key>").skip(1);
                            let mut gone = String::new();
                            for key in keys.filter_map(|part| part.split("</Key>").next()) {
                                objects.remove(&format!("/logs/{}", key.replace(' ', "%20")));
                                gone += &format!("<Deleted><Key>{key}</Key></Deleted>");
                            }
                            let answer = format!("<DeleteResult>{gone}</DeleteResult>");
                            ("200 OK", answer.into_bytes())
                        }
                        "GET" if query.contains("list-type=2") => {
                            ("200 OK", list(&objects).into_bytes())
                        }
                        _ => match objects.get(path) {
                            Some(object) => ("200 OK", object.clone()),
                            None => (
                                "404 Not Found",
                                b"<Error><Code>NoSuchKey</Code></Error>".to_vec(),
                            ),
                        },
                    }
                }
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: \"1\"\r\nlast-modified: Tue, 02 Jun 2026 12:00:00 GMT\r\n\r\n",
                answer.len()
            );
            let stream = reader.get_mut();
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(&answer).ok()
        }
    }

    fn list(objects: &BTreeMap<String, Vec<u8>>) -> String {
        let entry = |(path, object): (&String, &Vec<u8>)| {
            let key = path.strip_prefix("/logs/").unwrap().replace("%20", " ");
            format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-06-02T12:00:00.000Z</LastModified><ETag>\"1\"</ETag></Contents>",
                object.len()
            )
        };
        let entries: String = objects.iter().map(entry).collect();
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")
    }

    fn s3(url: &str) -> S3Options {
        S3Options {
            url: url.to_owned(),
            region: "us-east-1".into(),
            key_id: "AKIDEXAMPLE".into(),
            secret: "a secret of a test".into(),
        }
    }

    #[test]
    fn a_bucket_gets_signed_requests_and_gives_days_back() {
        let (bucket, url) = Bucket::serve();
        let home = tempfile::tempdir().unwrap();
        let open = |spool: &str| {
            Episodes::open(EpisodeOptions {
                spool: home.path().join(spool),
                place: EpisodePlace::S3(s3(&url)),
                ..options(home.path())
            })
            .unwrap()
        };
        let episodes = open("one");
        episodes
            .append(at("2026-06-01T10:00:00Z"), &json!({ "number": 1 }))
            .unwrap();
        episodes.append(at(NOON), &json!({ "number": 2 })).unwrap();
        assert_eq!(episodes.flush(at(NOON)).unwrap(), 2);
        for signature in bucket.signed.lock().unwrap().iter() {
            assert!(
                signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
                "{signature}"
            );
            assert!(
                signature.contains("/us-east-1/s3/aws4_request"),
                "{signature}"
            );
            assert!(!signature.contains("a secret of a test"));
        }
        let paths: Vec<String> = bucket.objects.lock().unwrap().keys().cloned().collect();
        assert_eq!(
            paths,
            [
                "/logs/host%20one/2026-06-01.ndjson",
                "/logs/host%20one/2026-06-02.ndjson"
            ]
        );

        // From another machine the day comes back, and is added to.
        let other = open("two");
        assert_eq!(lines(&other, "2026-06-01"), [r#"{"number":1}"#]);
        other.append(at(NOON), &json!({ "number": 3 })).unwrap();
        other.flush(at(NOON)).unwrap();
        assert_eq!(
            lines(&open("three"), "2026-06-02"),
            [r#"{"number":2}"#, r#"{"number":3}"#]
        );
        let report = episodes.gc(at("2026-07-02T00:00:00Z")).unwrap();
        assert_eq!((report.expired, report.evicted), (1, 0), "{report:?}");
        assert_eq!(bucket.objects.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_bucket_that_is_away_keeps_nothing_from_being_written() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let home = tempfile::tempdir().unwrap();
        let episodes = Episodes::open(EpisodeOptions {
            place: EpisodePlace::S3(s3(&format!("http://{closed}/logs"))),
            ..options(home.path())
        });
        let episodes = episodes.unwrap();
        assert!(episodes.append(at(NOON), &json!({ "number": 1 })).unwrap());
        let flushed = episodes.flush(at(NOON));
        assert!(
            matches!(flushed, Err(MemoryError::Unavailable { .. })),
            "{flushed:?}"
        );
        let text = flushed.unwrap_err().to_string();
        assert!(!text.contains("a secret of a test"), "{text}");
        assert!(home.path().join("spool/2026-06-02.ndjson").exists());
    }

    #[test]
    fn an_address_is_https_or_this_machine() {
        for good in [
            "https://s3.example.org/b",
            "https://s3.example.org:9000/b/deep/er",
            "http://[::1]:9000/b",
        ] {
            s3(good).check().unwrap();
        }
        for bad in [
            "",
            "b",
            "s3://b",
            "http://s3.example.org/b",
            "https://s3.example.org",
            "https://u:p@s3.example.org/b",
            "https://s3.example.org/b?x=1",
        ] {
            assert!(s3(bad).check().is_err(), "{bad}");
        }
        let place = EpisodePlace::S3(s3("https://s3.example.org/b"));
        assert_eq!(place.remote().as_deref(), Some("s3.example.org:443"));
        assert_eq!(EpisodePlace::S3(s3("http://127.0.0.1:1/b")).remote(), None);
    }
}
