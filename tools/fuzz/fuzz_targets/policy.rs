//! Any text as `policy.toml`: a policy or an error with its place, and a policy can be asked.
#![no_main]

use fazai_tools::{Action, Caller, Policy};
use jiff::civil::date;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::parse(text) {
        let caller = Caller::Token("laptop".into());
        let noon = date(2026, 6, 1).at(12, 0, 0, 0);
        for command in ["ls -l /etc", "cp a b", "rm -rf /"] {
            let _ = policy.decide(&caller, &Action::shell(command, "/tmp"), noon);
        }
        let _ = policy.is_read_only(&caller);
    }
});
