//! `echo`: version 0, in C.

use fazai_module_examples::{Loaded, ROOM, built};

fn echo() -> Loaded {
    Loaded::copy_of(&built().join("echo.so"), &[])
}

#[test]
fn it_has_three_functions_and_nothing_else() {
    let echo = echo();
    assert_eq!(echo.descriptor(), None);
    assert_eq!(echo.health(), None);
    assert_eq!(echo.stream("echo hi"), None);
}

#[test]
fn answers() {
    let echo = echo();
    assert_eq!(echo.good("help"), "commands: help, status, echo TEXT");
    assert_eq!(echo.good("echo hi there"), "hi there");
    assert_eq!(echo.good("echo caf\u{e9} %s"), "caf\u{e9} %s");
    assert_eq!(echo.good("echo"), "");
    assert_eq!(echo.good("status"), "ready, 5 calls");
    for wrong in ["", "echoes", "reboot now"] {
        let expected = format!("no command '{wrong}': say help, status or echo TEXT");
        assert_eq!(echo.bad(wrong), expected);
    }
}

#[test]
fn a_long_answer_ends_where_the_buffer_does() {
    let text = "x".repeat(3 * ROOM);
    assert_eq!(echo().good(&format!("echo {text}")), text[..ROOM - 1]);
    assert!(echo().bad(&text).len() < 200);
}
