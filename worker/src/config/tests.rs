use super::*;

fn parse(text: &str) -> Result<Settings, Faults> {
    Settings::parse(text, Path::new("test.conf"))
}

#[test]
fn the_example_is_valid_and_changes_nothing() {
    let example = example();
    assert_eq!(parse(&example).expect("valid"), Settings::default());
    // With the comment marks of its values removed it is still valid and the same.
    let keys = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') && !key.contains("tcp_token") => key,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(parse(&keys).expect("valid"), Settings::default());
    assert!(keys.lines().filter(|line| line.contains(" = ")).count() > 40);
}

#[test]
fn values_are_read() {
    let settings = parse(
        "# a comment\n[server]\nsocket = /tmp/x.sock\nsocket_mode=0600\ntcp = 127.0.0.1:5556\n\
         [model]\nkv_cache_bytes = 512M\ngpu_layers = 12\n[defaults]\ntemperature = 0.7\n",
    )
    .expect("valid");
    assert_eq!(settings.server.socket, Path::new("/tmp/x.sock"));
    assert_eq!(settings.server.socket_mode, 0o600);
    assert_eq!(settings.server.tcp.as_deref(), Some("127.0.0.1:5556"));
    assert_eq!(settings.model.kv_cache_bytes, 512 << 20);
    assert_eq!(settings.model.gpu_layers, GpuLayers::Count(12));
    assert!((settings.defaults.temperature - 0.7).abs() < 1e-6);
}

#[test]
fn all_faults_come_at_once_with_their_lines() {
    let text = "[serve]\nsocket = /x\n[model]\nthreats = 2\nslots = 0\nslots = 4\nbackend\n\
                [defaults]\ntemperature = warm\n[unclosed\n";
    let faults = parse(text).expect_err("bad");
    let found: Vec<(usize, &str)> = faults
        .faults
        .iter()
        .map(|fault| (fault.line, fault.message.as_str()))
        .collect();
    let expected = [
        (1, "did you mean \"server\""),
        (4, "did you mean \"threads\""),
        (5, "a number from 1 to 64"),
        (6, "was set on line 5"),
        (7, "has no value"),
        (9, "a number from 0 to 5"),
        (10, "not a section"),
    ];
    assert_eq!(found.len(), expected.len(), "{faults}");
    for ((line, message), (wanted_line, part)) in found.iter().zip(expected) {
        assert_eq!(*line, wanted_line, "{message}");
        assert!(message.contains(part), "{message} lacks {part}");
    }
    assert!(faults.to_string().starts_with("test.conf:1: "));
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    for (address, good) in [
        ("127.0.0.1:5556", true),
        ("[::1]:5556", true),
        ("localhost:5556", true),
        ("0.0.0.0:5556", false),
        ("[::]:5556", false),
        ("10.0.0.1:5556", false),
    ] {
        let text = format!("[server]\ntcp = {address}\n");
        assert_eq!(parse(&text).is_ok(), good, "{address}");
        let guarded = format!("{text}tcp_token = s3cret\n");
        assert!(parse(&guarded).is_ok(), "{address}");
    }
    let settings = parse("[server]\ntcp_token = s3cret\n").expect("valid");
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn a_v2_file_is_understood_or_reported() {
    let settings = parse(
        "[system]\nlog_level=INFO\n[gemma_worker]\nhost=127.0.0.1\nport=5557\n\
         unix_socket=/run/fazai/gemma.sock\n[gemma_cpp]\nweights=/opt/fazai/gemma.sbs\n\
         max_tokens=256\ntemperature=0.2\ntop_k=1\ndeterministic=true\ngeneration_timeout=120\n\
         [openai]\napi_key=sk-secret\nmodel=gpt-4\n",
    )
    .expect("valid");
    assert_eq!(settings.log.level, "info");
    assert_eq!(settings.server.tcp.as_deref(), Some("127.0.0.1:5557"));
    assert_eq!(settings.defaults.max_tokens, 256);
    assert_eq!(settings.defaults.deadline_ms, 120_000);
    assert!(settings.defaults.temperature.abs() < f32::EPSILON);
    let notes = settings.notes.join("\n");
    assert!(notes.contains("weights"), "{notes}");
    assert!(!format!("{settings:?}").contains("sk-secret"));
    let cloud = settings.cloud.settings().expect("valid");
    if cfg!(feature = "tls") {
        assert_eq!(cloud.providers[0].name, "openai");
        assert_eq!(cloud.providers[0].model, "gpt-4");
        assert!(cloud.allow, "as in v2");
    } else {
        assert!(notes.contains("without TLS"), "{notes}");
        assert!(!cloud.allow);
    }
    assert!(parse("[gemma_worker]\nhost=0.0.0.0\n").is_err(), "no token");
}

#[test]
fn keys_of_one_backend_need_it() {
    let text = "[model]\nbackend = candle\nkv_type = q8_0\n";
    let fault = Settings::parse(text, Path::new("x.conf")).expect_err("candle has none");
    assert!(fault.to_string().contains("backend = llama"), "{fault}");
    for wrong in ["kv_type = f32", "flash_attention = maybe", "mlock = 1"] {
        let text = format!("[model]\n{wrong}\n");
        assert!(
            Settings::parse(&text, Path::new("x.conf")).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_low_mark_is_not_above_the_high_one() {
    for text in [
        "[memory]\nbytes_low = 2G\nbytes_high = 1G\n",
        "[memory]\nepisodes_bytes_high = 1M\n",
    ] {
        let faults = parse(text).expect_err("turned").to_string();
        assert!(faults.contains("bytes_low is"), "{faults}");
    }
    parse("[memory]\nbytes_low = 1G\nbytes_high = 1G\n").expect("valid");
}

#[test]
fn providers_are_sections_of_their_own() {
    let settings = parse(
        "[cloud]\nfallback_order = b,a\nday_usd_max = 2.50\ncauses = quality, too_long\n\
         [cloud.a]\nmodel = m\nbase_url = http://127.0.0.1:1/v1\nkind = openai_compatible\n\
         [cloud.b]\nkind = ollama\nmodel = n\napi_key = sk-one, sk-two\nlabel_max = public\n",
    )
    .expect("valid");
    let cloud = settings.cloud.settings().expect("valid");
    let names: Vec<_> = cloud.providers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert!(cloud.allow);
    assert_eq!(cloud.limits.day.nanos, Some(2_500_000_000));
    assert_eq!(cloud.providers[0].keys.len(), 2);
    assert!(!format!("{settings:?}").contains("sk-one"));
    let none = parse("").expect("valid").cloud.settings().expect("valid");
    assert!(!none.allow, "off until a provider is configured");
    for (text, wanted) in [
        ("[cloud.a]\nkind = ollama\n", "[cloud.a] needs model"),
        ("[cloud.a]\nmodel = m\n", "[cloud.a] needs kind"),
        ("[cloud.a]\nkind = oracle\n", "openai_compatible"),
        ("[cloud.a]\nkeys = x\n", "has no key"),
        ("[cloud.a/b]\nkind = ollama\n", "letters, digits"),
        ("[cloud]\nfallback_order = c\n", "no [cloud.c]"),
        ("[cloud]\ncauses = boredom\n", "queue_full"),
        (
            "[cloud.ollama]\nmodel = m\nbase_url = http://10.0.0.1\n",
            "allow_plain",
        ),
        (
            "[cloud.ollama]\nmodel = m\nlabel_max = private\n",
            "public or internal",
        ),
    ] {
        let fault = parse(text).expect_err(text).to_string();
        assert!(fault.contains(wanted), "{fault} lacks {wanted}");
    }
    let fault = parse("[cloud.ollama]\nmodel = m\napi_key = sk-se cret\n").expect_err("a space");
    assert!(!fault.to_string().contains("sk-se"), "{fault}");
}
