use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

const NOON: i64 = 1_780_315_200; // 2026-06-01T12:00:00Z

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, nanos: 0 }
}

fn day_of(limit: u64) -> Limits {
    let cap = Cap {
        tokens: Some(limit),
        nanos: None,
    };
    Limits {
        day: cap,
        ..Limits::default()
    }
}

fn spent(ledger: &Ledger, user: &str) -> [u64; 4] {
    ledger.spent(user, at(NOON)).map(|amount| amount.tokens)
}

#[test]
fn each_limit_refuses_and_says_when_it_is_reset() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    let tokens_max = |most| Cap {
        tokens: Some(most),
        nanos: None,
    };
    let mut held = ledger
        .reserve("a", tokens(60), &Limits::default(), at(NOON))
        .unwrap();
    held.so_far(tokens(60));
    drop(held);
    let none = Limits::default();
    let (tomorrow, july) = (Some("2026-06-02T00:00:00Z"), Some("2026-07-01T00:00:00Z"));
    for (limits, scope, reset) in [
        (
            Limits {
                request: tokens_max(40),
                ..none
            },
            Scope::Request,
            None,
        ),
        (
            Limits {
                user_day: tokens_max(100),
                ..none
            },
            Scope::UserDay,
            tomorrow,
        ),
        (
            Limits {
                user_month: tokens_max(100),
                ..none
            },
            Scope::UserMonth,
            july,
        ),
        (
            Limits {
                day: tokens_max(100),
                ..none
            },
            Scope::Day,
            tomorrow,
        ),
        (
            Limits {
                month: tokens_max(100),
                ..none
            },
            Scope::Month,
            july,
        ),
    ] {
        let BudgetError::Refused(refusal) = ledger
            .reserve("a", tokens(41), &limits, at(NOON))
            .unwrap_err()
        else {
            panic!("{scope:?}")
        };
        assert_eq!(refusal.scope, scope);
        let at = refusal.reset_at.map(|at| at.to_string());
        assert_eq!(at.as_deref(), reset);
        assert!(
            ledger.reserve("a", tokens(40), &limits, at_noon()).is_ok(),
            "{scope:?}"
        );
    }
    let other = Limits {
        user_day: tokens_max(100),
        ..none
    };
    assert!(
        ledger.reserve("b", tokens(100), &other, at(NOON)).is_ok(),
        "users have their own"
    );
}

fn at_noon() -> Timestamp {
    at(NOON)
}

#[test]
fn a_warning_comes_at_eighty_percent() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    let first = ledger
        .reserve("a", tokens(79), &day_of(100), at(NOON))
        .unwrap();
    assert!(first.warnings.is_empty());
    let second = ledger
        .reserve("a", tokens(1), &day_of(100), at(NOON))
        .unwrap();
    assert_eq!(second.warnings[0].spent, 80);
    assert!(
        second.warnings[0]
            .to_string()
            .contains("80 tokens of 100 tokens")
    );
}

#[test]
fn money_is_counted_like_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    let cap = Cap {
        tokens: None,
        nanos: Some(1_000),
    };
    let limits = Limits {
        month: cap,
        ..Limits::default()
    };
    let amount = Amount {
        tokens: 1,
        nanos: 600,
    };
    let _held = ledger.reserve("a", amount, &limits, at(NOON)).unwrap();
    let refused = ledger.reserve("a", amount, &limits, at(NOON)).unwrap_err();
    assert!(refused.to_string().contains("$0.000001"), "{refused}");
}

#[test]
fn a_new_day_and_a_new_month_begin_at_zero() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    let mut held = ledger
        .reserve("a", tokens(100), &day_of(100), at(NOON))
        .unwrap();
    held.so_far(tokens(100));
    drop(held);
    assert!(
        ledger
            .reserve("a", tokens(1), &day_of(100), at(NOON))
            .is_err()
    );
    let next_day = at(NOON + 86_400);
    assert!(
        ledger
            .reserve("a", tokens(1), &day_of(100), next_day)
            .is_ok()
    );
    assert_eq!(
        ledger.spent("a", next_day)[3].tokens,
        100,
        "the month goes on"
    );
    assert_eq!(ledger.spent("a", at(NOON + 31 * 86_400))[3].tokens, 0);
}

#[test]
fn a_clock_that_was_ahead_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    let mut held = ledger
        .reserve("a", tokens(100), &day_of(100), at(NOON))
        .unwrap();
    held.so_far(tokens(100));
    drop(held);
    let ahead = at(NOON + 40 * 86_400);
    assert!(ledger.reserve("a", tokens(1), &day_of(100), ahead).is_ok());
    assert_eq!(spent(&ledger, "a"), [100; 4]);
    drop(ledger);
    drop(Ledger::open(directory.path(), ahead).unwrap());
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    assert_eq!(spent(&ledger, "a"), [100; 4]);
}

#[test]
fn what_was_spent_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    let mut settled = ledger
        .reserve("a", tokens(50), &Limits::default(), at(NOON))
        .unwrap();
    settled.so_far(tokens(30));
    drop(settled);
    let open = ledger
        .reserve("b", tokens(20), &Limits::default(), at(NOON))
        .unwrap();
    assert!(matches!(
        Ledger::open(directory.path(), at(NOON)),
        Err(BudgetError::InUse(_))
    ));
    // As a crash does it: nobody settles what is open.
    let log = std::fs::read(directory.path().join("budget.log")).unwrap();
    drop(open);
    drop(ledger);
    std::fs::write(directory.path().join("budget.log"), &log).unwrap();
    for _ in 0..2 {
        let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
        assert_eq!(spent(&ledger, "a"), [30, 30, 50, 50]);
        assert_eq!(spent(&ledger, "b"), [20, 20, 50, 50]);
    }
}

#[test]
fn half_a_line_is_cut_off_and_damage_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("budget.log");
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    for _ in 0..3 {
        let mut held = ledger
            .reserve("a", tokens(10), &Limits::default(), at(NOON))
            .unwrap();
        held.so_far(tokens(10));
    }
    drop(ledger);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(
            spent(&ledger, "a")[0],
            lines.div_ceil(2) * 10,
            "cut at {cut}"
        );
    }
    for at_byte in [0, 12, whole.len() / 2] {
        let mut bad = whole.clone();
        bad[at_byte] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let opened = Ledger::open(directory.path(), at(NOON));
        assert!(
            matches!(opened, Err(BudgetError::Damaged { .. })),
            "byte {at_byte}"
        );
    }
}

#[test]
fn a_long_file_becomes_sums() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("budget.log");
    let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
    let user = "u".repeat(200);
    for _ in 0..20_000 {
        let mut held = ledger
            .reserve(&user, tokens(2), &Limits::default(), at(NOON))
            .unwrap();
        held.so_far(tokens(1));
    }
    drop(ledger);
    assert!(std::fs::metadata(&path).unwrap().len() > 4 << 20);
    for _ in 0..2 {
        let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
        assert_eq!(spent(&ledger, &user), [20_000; 4]);
        let _held = ledger
            .reserve(&user, tokens(0), &Limits::default(), at(NOON))
            .unwrap();
    }
    assert!(std::fs::metadata(&path).unwrap().len() < 4096);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn many_at_once_never_spend_more_than_the_limit(
        limit in 50u64..400,
        wants in prop::collection::vec((1u64..40, 0u64..40), 16..64),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
        let (settled, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for part in wants.chunks(wants.len().div_ceil(8)) {
                let (ledger, settled, refused) = (&ledger, &settled, &refused);
                scope.spawn(move || {
                    for (wanted, real) in part {
                        // Never more than was set aside, so that the limit has to hold exactly.
                        let real = (*real).min(*wanted);
                        match ledger.reserve("u", tokens(*wanted), &day_of(limit), at(NOON)) {
                            Ok(mut held) => {
                                assert!(ledger.spent("u", at(NOON))[2].tokens <= limit);
                                held.so_far(tokens(real));
                                settled.fetch_add(real, Ordering::SeqCst);
                            }
                            Err(BudgetError::Refused(_)) => {
                                refused.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(fault) => panic!("{fault}"),
                        }
                    }
                });
            }
        });
        let sum = settled.into_inner();
        prop_assert_eq!(spent(&ledger, "u")[2], sum);
        prop_assert!(sum <= limit);
        drop(ledger);
        let ledger = Ledger::open(directory.path(), at(NOON)).unwrap();
        prop_assert_eq!(spent(&ledger, "u")[2], sum, "after a restart");
    }
}
