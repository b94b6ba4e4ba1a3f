use super::*;
use crate::caller::User;
use crate::policy::{Risk, Verdict};

fn user(uid: u32) -> Caller {
    Caller::User(User {
        uid,
        groups: vec![],
        name: "anna".into(),
    })
}

fn question(approvers: Approvers) -> Question {
    Question {
        caller: user(1),
        session: Some("s".into()),
        action: Action::shell("reboot", "/"),
        seen: Seen::default(),
        decision: Decision {
            verdict: Verdict::Ask,
            rule: "r".into(),
            reason: "x".into(),
            risk: Risk::High,
        },
        approvers,
        patience: Duration::from_secs(60),
    }
}

#[test]
fn an_id_has_128_bits() {
    let (one, two) = (
        ApprovalId::random().expect("random"),
        ApprovalId::random().expect("random"),
    );
    assert_eq!(one.as_str().len(), 32);
    assert_ne!(one, two);
}

#[test]
fn a_yes_is_a_yes_once() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    let waiting = approvals
        .ask(question(Approvers::Caller), now, |_, _| ())
        .expect("asked");
    assert!(waiting.poll(now).is_none());
    assert_eq!(approvals.pending(now).len(), 1);
    approvals
        .answer(&waiting.id, &user(1), Choice::Once, "", now)
        .expect("taken");
    let id = waiting.id.clone();
    assert!(waiting.wait().is_ok());
    let again = approvals.answer(&id, &user(1), Choice::Once, "", now);
    assert_eq!(again, Err(ApprovalError::AnsweredAlready(id.0)));
    assert_eq!(
        approvals.granted_by(&question(Approvers::Caller), now),
        None
    );
}

#[test]
fn each_wrong_answer_has_its_own_error() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    let unknown = approvals.answer(&ApprovalId::from_text("x"), &user(1), Choice::Once, "", now);
    assert_eq!(unknown, Err(ApprovalError::UnknownId("x".into())));
    let waiting = approvals
        .ask(question(Approvers::Any(vec![user(0)])), now, |_, _| ())
        .expect("asked");
    let other = approvals.answer(&waiting.id, &user(1), Choice::Once, "", now);
    assert!(matches!(other, Err(ApprovalError::NotAsked { .. })));
    let long = approvals.answer(&waiting.id, &user(0), Choice::Deny, &"x".repeat(9999), now);
    assert_eq!(long, Err(ApprovalError::ReasonTooLong { bytes: 9999 }));
    let later = now + Duration::from_secs(61);
    let late = approvals.answer(&waiting.id, &user(0), Choice::Once, "", later);
    assert_eq!(
        late,
        Err(ApprovalError::AnsweredTooLate(waiting.id.0.clone()))
    );
    assert!(matches!(
        waiting.poll(later),
        Some(Err(ApprovalError::TooLate(_)))
    ));
}

#[test]
fn a_no_has_a_reason() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    let waiting = approvals
        .ask(question(Approvers::Caller), now, |_, _| ())
        .expect("asked");
    approvals
        .answer(&waiting.id, &user(1), Choice::Deny, "not now", now)
        .expect("taken");
    let denied = waiting.wait().expect_err("a no");
    assert_eq!(denied.to_string(), "anna (uid 1) said no: not now");
}

#[test]
fn nobody_to_ask_means_no() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    for approvers in [Approvers::Nobody, Approvers::Any(vec![])] {
        let refused = approvals.ask(question(approvers), now, |_, _| ()).map(drop);
        assert_eq!(refused, Err(ApprovalError::NobodyToAsk));
    }
}

#[test]
fn a_session_is_granted_the_same_action_only() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    let waiting = approvals
        .ask(question(Approvers::Caller), now, |_, _| ())
        .expect("asked");
    approvals
        .answer(&waiting.id, &user(1), Choice::Session, "", now)
        .expect("taken");
    assert_eq!(
        approvals.granted_by(&question(Approvers::Caller), now),
        Some(user(1))
    );
    let mut other = question(Approvers::Caller);
    other.action = Action::shell("reboot now", "/");
    assert_eq!(approvals.granted_by(&other, now), None);
    let mut other = question(Approvers::Caller);
    other.session = Some("t".into());
    assert_eq!(approvals.granted_by(&other, now), None);
}

#[test]
fn who_leaves_takes_the_question_back() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    let waiting = approvals
        .ask(question(Approvers::Caller), now, |_, _| ())
        .expect("asked");
    let id = waiting.id.clone();
    drop(waiting);
    assert!(approvals.pending(now).is_empty());
    let late = approvals.answer(&id, &user(1), Choice::Once, "", now);
    assert_eq!(late, Err(ApprovalError::AskerLeft(id.0)));
}

#[test]
fn there_is_a_limit() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    let ask = |uid| {
        let question = Question {
            caller: user(uid),
            ..question(Approvers::Caller)
        };
        approvals.ask(question, now, |_, _| ())
    };
    let full = PENDING_MAX / PENDING_OF_ONE_MAX;
    let users = (0..full).map(|uid| u32::try_from(uid).expect("few"));
    let all: Vec<Waiting> = users
        .flat_map(|uid| (0..PENDING_OF_ONE_MAX).map(move |_| uid))
        .map(|uid| ask(uid).expect("below the limit"))
        .collect();
    assert_eq!(all.len(), PENDING_MAX);
    assert_eq!(ask(1000).map(drop), Err(ApprovalError::TooMany));
    drop(all);
    let share: Vec<_> = (0..PENDING_OF_ONE_MAX).map(|_| ask(1)).collect();
    assert!(share.iter().all(Result::is_ok));
    assert_eq!(ask(1).map(drop), Err(ApprovalError::TooManyOfYours));
    assert!(ask(2).is_ok(), "others can still ask");
    drop(share);
    assert!(ask(1).is_ok());
}

/// A question, and a place where its end is noted.
fn noted(approvals: &Approvals, now: Instant) -> (Waiting, Receiver<Unanswered>) {
    let (sender, noted) = sync_channel(2);
    let note = move |_: &ApprovalId, how| sender.send(how).expect("somebody listens");
    let waiting = approvals.ask(question(Approvers::Caller), now, note);
    (waiting.expect("asked"), noted)
}

#[test]
fn what_nobody_answers_is_told_once() {
    type End = fn(&Approvals, Waiting, Instant);
    let later = Instant::now() + Duration::from_secs(61);
    let ends: [(&str, End); 5] = [
        ("listed", |approvals, waiting, later| {
            assert!(approvals.pending(later).is_empty());
            drop(waiting);
        }),
        ("another is asked", |approvals, waiting, later| {
            let other = approvals.ask(question(Approvers::Caller), later, |_, _| ());
            assert!(other.is_ok() && waiting.poll(later).is_some());
        }),
        ("answered too late", |approvals, waiting, later| {
            let late = approvals.answer(&waiting.id, &user(1), Choice::Once, "", later);
            assert!(late.is_err());
        }),
        ("polled", |_, waiting, later| {
            assert!(waiting.poll(later).is_some() && waiting.poll(later).is_some());
        }),
        ("polled and listed", |approvals, waiting, later| {
            assert!(waiting.poll(later).is_some() && approvals.pending(later).is_empty());
        }),
    ];
    for (name, end) in ends {
        let approvals = Approvals::default();
        let (waiting, noted) = noted(&approvals, Instant::now());
        end(&approvals, waiting, later);
        let ways: Vec<Unanswered> = noted.try_iter().collect();
        assert_eq!(ways, [Unanswered::Expired], "{name}");
    }
}

#[test]
fn who_leaves_is_told_apart_from_who_waits_too_long() {
    let approvals = Approvals::default();
    let (waiting, noted_left) = noted(&approvals, Instant::now());
    drop(waiting);
    assert_eq!(
        noted_left.try_iter().collect::<Vec<_>>(),
        [Unanswered::Withdrawn]
    );
    let long_ago = Instant::now() - Duration::from_secs(60);
    let (waiting, noted_late) = noted(&approvals, long_ago);
    assert!(matches!(waiting.wait(), Err(ApprovalError::TooLate(_))));
    assert_eq!(
        noted_late.try_iter().collect::<Vec<_>>(),
        [Unanswered::Expired]
    );
}

#[test]
fn an_answer_leaves_nothing_to_tell() {
    for choice in [Choice::Once, Choice::Session, Choice::Deny] {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let (waiting, noted) = noted(&approvals, now);
        approvals
            .answer(&waiting.id, &user(1), choice, "", now)
            .expect("taken");
        assert!(waiting.poll(now).is_some());
        drop(waiting);
        assert_eq!(noted.try_iter().count(), 0, "{choice:?}");
    }
}

#[test]
fn an_answer_of_the_last_moment_counts() {
    let (approvals, now) = (Approvals::default(), Instant::now());
    let (waiting, noted) = noted(&approvals, now);
    approvals
        .answer(&waiting.id, &user(1), Choice::Once, "", now)
        .expect("taken");
    let later = now + Duration::from_secs(61);
    assert!(waiting.last_look(later).is_ok());
    drop(waiting);
    assert_eq!(noted.try_iter().count(), 0);
}
