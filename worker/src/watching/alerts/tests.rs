use super::super::record::example;
use super::*;

fn records(count: u64) -> Vec<Arc<Record>> {
    let record = |id| Arc::new(example(id, None));
    (1..=count).map(record).collect()
}

#[test]
fn of_a_full_queue_the_oldest_goes_and_is_counted() {
    let way = Way::new("command", To::Program(Program(vec!["true".to_owned()])));
    let records = records(QUEUE_MAX as u64 + 10);
    way.push(&records.iter().collect::<Vec<_>>());
    let state = way.state();
    assert_eq!(state["dropped"], 10);
    assert_eq!(state["waiting"], QUEUE_MAX);
    assert_eq!(way.queue().front().map(|record| record.seq), Some(11));
}

#[test]
fn only_what_is_bad_and_of_trusted_lines_is_queued() {
    let alerts = Alerts {
        ways: vec![Arc::new(Way::new("tool", To::Tool(Tool("x".to_owned()))))],
        min: Severity::Medium,
        closing: CancellationToken::new(),
        tasks: Mutex::default(),
    };
    let mut offered = records(4);
    let change = |record: &Arc<Record>, severity, trusted, action| {
        let mut record = Record::clone(record);
        (record.severity, record.trusted, record.did.action) = (severity, trusted, action);
        Arc::new(record)
    };
    offered[1] = change(&offered[1], Severity::High, true, Kind::BlockIp);
    offered[2] = change(&offered[2], Severity::High, false, Kind::Alert);
    offered[3] = change(&offered[3], Severity::High, true, Kind::Log);
    alerts.offer(&offered);
    let queued: Vec<u64> = alerts.ways[0]
        .queue()
        .iter()
        .map(|record| record.seq)
        .collect();
    assert_eq!(queued, [2]);
}
