use proptest::prelude::*;

use super::*;

fn trouble() -> impl Strategy<Value = Option<Trouble>> {
    prop_oneof![
        3 => Just(None),
        1 => (1u64..100).prop_map(|s| Some(Trouble::Resting(Duration::from_secs(s)))),
        1 => Just(Some(Trouble::Budget("spent".into()))),
        1 => Just(Some(Trouble::Policy("rule".into()))),
        1 => Just(Some(Trouble::Broken("no key".into()))),
    ]
}

fn label() -> impl Strategy<Value = Label> {
    prop::sample::select(&[Label::Public, Label::Internal, Label::Private][..])
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let provider_label = prop::sample::select(&[Label::Public, Label::Internal][..]);
    (
        "[a-z]{1,4}",
        provider_label,
        prop::option::of(1u32..2000),
        trouble(),
    )
        .prop_map(|(name, label_max, context_tokens, trouble)| Candidate {
            name,
            label_max,
            context_tokens,
            trouble,
        })
}

fn troubles() -> impl Strategy<Value = Vec<(Cause, bool)>> {
    prop::collection::vec((prop::sample::select(&Cause::ALL[..]), any::<bool>()), 0..4)
}

fn causes() -> impl Strategy<Value = Vec<Cause>> {
    prop::collection::vec(prop::sample::select(&Cause::ALL[..]), 0..4)
}

fn asked() -> impl Strategy<Value = Asked> {
    (any::<Option<bool>>(), label(), any::<bool>(), 0u64..3000).prop_map(
        |(allow, label, better, tokens)| Asked {
            allow,
            label,
            better,
            tokens,
        },
    )
}

fn local(troubles: Vec<(Cause, bool)>) -> Local {
    let against = |(cause, fatal)| Against {
        cause,
        detail: "it is so".to_owned(),
        fatal,
    };
    Local {
        troubles: troubles.into_iter().map(against).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_decision_keeps_the_rules(
        asked in asked(),
        troubles in troubles(),
        candidates in prop::collection::vec(candidate(), 0..4),
        allow in any::<bool>(),
        allowed in causes(),
    ) {
        let local = local(troubles);
        let rules = Rules { allow, causes: allowed.into_iter().collect() };
        let route = decide(&asked, &local, &candidates, &rules);
        let may_leave = asked.label != Label::Private && asked.allow.unwrap_or(allow);
        let hard = local.troubles.iter().any(|against| against.fatal);
        prop_assert!(!route.reasons.is_empty());
        match &route.decision {
            Decision::Cloud { providers, cause } => {
                prop_assert!(may_leave, "nothing leaves that may not");
                prop_assert!(rules.causes.has(*cause), "only for a cause that is allowed");
                let holds = *cause == Cause::Quality && asked.better
                    || local.troubles.iter().any(|against| against.cause == *cause);
                prop_assert!(holds, "only for a cause that holds");
                prop_assert!(!providers.is_empty());
                let fits = |c: &&Candidate| c.trouble.is_none()
                    && asked.label <= c.label_max
                    && c.context_tokens.is_none_or(|most| asked.tokens <= u64::from(most));
                let expected: Vec<_> = candidates.iter().filter(fits).map(|c| c.name.clone()).collect();
                prop_assert_eq!(providers, &expected, "all that fit, in their order");
            }
            Decision::Local => prop_assert!(!hard, "only if the local model can answer"),
            Decision::Wait { wait_ms } => {
                prop_assert!(hard && may_leave && *wait_ms > 0);
                let resting = |c: &Candidate| matches!(c.trouble, Some(Trouble::Resting(_)));
                prop_assert!(candidates.iter().any(resting));
            }
            Decision::Refuse { reason } => prop_assert!(hard && !reason.is_empty()),
        }
        prop_assert_eq!(decide(&asked, &local, &candidates, &rules), route, "it is pure");
    }
}

fn ready(name: &str) -> Candidate {
    Candidate {
        name: name.into(),
        label_max: Label::Internal,
        context_tokens: None,
        trouble: None,
    }
}

const OPEN: fn() -> Rules = || Rules {
    allow: true,
    causes: Causes::default(),
};

#[test]
fn each_cause_can_be_turned_off() {
    for (cause, fatal) in Cause::ALL
        .into_iter()
        .flat_map(|cause| [(cause, false), (cause, true)])
    {
        let asked = Asked {
            better: cause == Cause::Quality,
            ..Asked::default()
        };
        let local = local(vec![(cause, fatal)]);
        let route = decide(&asked, &local, &[ready("a")], &OPEN());
        let providers = vec!["a".to_owned()];
        assert_eq!(route.decision, Decision::Cloud { providers, cause });
        let others = Cause::ALL
            .into_iter()
            .filter(|other| *other != cause)
            .collect();
        let rules = Rules {
            allow: true,
            causes: others,
        };
        let route = decide(&asked, &local, &[ready("a")], &rules);
        if fatal {
            assert!(matches!(route.decision, Decision::Refuse { .. }));
        } else {
            assert_eq!(route.decision, Decision::Local);
        }
    }
}

#[test]
fn what_is_private_never_leaves_also_when_it_asks_to() {
    let asked = Asked {
        allow: Some(true),
        label: Label::Private,
        better: true,
        tokens: 1,
    };
    let route = decide(&asked, &Local::default(), &[ready("a")], &OPEN());
    assert_eq!(route.decision, Decision::Local);
    assert!(
        route
            .reasons
            .iter()
            .any(|why| why.contains("private never leaves")),
        "{route:?}"
    );
}

#[test]
fn every_provider_gets_its_reason() {
    let troubled = |name: &str, trouble| Candidate {
        trouble: Some(trouble),
        ..ready(name)
    };
    let candidates = [
        troubled("a", Trouble::Resting(Duration::from_secs(7))),
        troubled("b", Trouble::Budget("no money is left".into())),
        Candidate {
            label_max: Label::Public,
            ..ready("c")
        },
        Candidate {
            context_tokens: Some(10),
            ..ready("d")
        },
    ];
    let asked = Asked {
        tokens: 11,
        ..Asked::default()
    };
    let route = decide(
        &asked,
        &local(vec![(Cause::NotLoaded, true)]),
        &candidates,
        &OPEN(),
    );
    assert_eq!(route.decision, Decision::Wait { wait_ms: 7000 });
    let text = route.reasons.join("\n");
    for part in [
        "a: is left alone for 7 s",
        "b: no money",
        "c: gets nothing",
        "d: about 11 tokens",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn causes_are_read_and_written() {
    let causes = Causes::parse("too_long, quality").unwrap();
    assert_eq!(causes.to_string(), "too_long,quality");
    assert!(Causes::parse("boredom").unwrap_err().contains("queue_full"));
    assert_eq!(Causes::parse("").unwrap().to_string(), "");
    assert_eq!(
        Causes::parse(&Causes::default().to_string()),
        Ok(Causes::default())
    );
}
