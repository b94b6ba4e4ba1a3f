//! Lines that become incidents.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::Wire;

/// A line of the journal: somebody failed to log in just now.
#[must_use]
pub fn failed(ip: &str, user: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    json!({
        "__REALTIME_TIMESTAMP": now.unwrap().as_micros().to_string(),
        "SYSLOG_IDENTIFIER": "sshd", "_HOSTNAME": format!("host-{ip}"), "PRIORITY": "6",
        "MESSAGE": format!("Failed password for {user} from {ip} port 4022 ssh2"),
    })
    .to_string()
}

/// Enough of them for a block.
#[must_use]
pub fn guessing(ip: &str) -> String {
    vec![failed(ip, "deploy"); 40].join("\n")
}

/// The incident that many failed logins from there are.
pub async fn incident(wire: &mut Wire, ip: &str) -> Value {
    incident_within(wire, ip, json!({})).await
}

/// The same with these params.
pub async fn incident_within(wire: &mut Wire, ip: &str, params: Value) -> Value {
    let request =
        json!({ "action": "event", "action_id": "x", "input": guessing(ip), "params": params });
    let done = wire.call(&request.to_string()).await;
    assert!(done["error"].is_null(), "{done}");
    done["data"]["incidents"][0].clone()
}

/// Until it is so, while others on this thread go on.
pub async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + crate::PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "it never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
