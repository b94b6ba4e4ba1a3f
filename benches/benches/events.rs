//! How long it takes from the line that makes an incident until a subscriber has it, by rules: the
//! line written to a file that is followed, or to a socket that is listened to.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use fazai::config::Settings;
use fazai_benches::instant_worker;
use fazai_protocol::client::Reply;
use fazai_protocol::{Call, Line, Operation, SubscribeParams};
use serde_json::json;

/// Incidents that are measured of each way.
const INCIDENTS: u16 = 500;

/// Failed logins that are guessing.
const FAILURES: usize = 8;

fn guessing(number: u16) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let [high, low] = number.to_be_bytes();
    let line = json!({
        "__REALTIME_TIMESTAMP": now.expect("after 1970").as_micros().to_string(),
        "SYSLOG_IDENTIFIER": "sshd", "_HOSTNAME": format!("host-{number}"), "PRIORITY": "6",
        "MESSAGE": format!("Failed password for anna from 198.18.{high}.{low} port 4022 ssh2"),
    });
    format!("{line}\n").repeat(FAILURES)
}

async fn incident(reply: &mut Reply) {
    loop {
        match reply.next().await.expect("connected") {
            Some(Line::Incident(_)) => return,
            Some(_) => {}
            None => panic!("the subscription ended"),
        }
    }
}

async fn measure(name: &str, first: u16, reply: &mut Reply, out: &mut impl Write) {
    let mut times = Vec::new();
    for number in first..first + INCIDENTS {
        // Not in step with whoever looks at regular times.
        tokio::time::sleep(Duration::from_millis(u64::from(number % 30))).await;
        let lines = guessing(number);
        let began = Instant::now();
        out.write_all(lines.as_bytes()).expect("written");
        incident(reply).await;
        times.push(began.elapsed());
    }
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{name}: median {:.1?}, p99 {:.1?}, worst {:.1?} of {INCIDENTS}",
        at(50),
        at(99),
        at(100)
    );
}

async fn run(dir: &Path) {
    let (log, socket) = (dir.join("auth.log"), dir.join("events.sock"));
    let mut file: File = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&log)
        .expect("made");
    let mut settings = Settings::default();
    settings.watch.files = vec![log];
    settings.watch.unix = vec![socket.clone()];
    settings.watch.state_dir = dir.join("watch");
    settings.watch.model = false;
    settings.policy.audit_dir = dir.join("audit");
    settings.policy.file = dir.join("policy.toml");
    let worker = instant_worker(settings, "");
    worker.watch().await.expect("watching");
    let subscribe = Operation::Subscribe(Call::<SubscribeParams>::default());
    let mut reply = worker.client().send(subscribe).await.expect("subscribed");
    measure("a file", 0, &mut reply, &mut file).await;
    let mut stream = UnixStream::connect(socket).expect("connected");
    measure("a Unix socket", INCIDENTS, &mut reply, &mut stream).await;
    worker.stop().await;
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(dir.path()));
}
