//! `hostile`: only what a process survives. The rest is for whoever confines modules.

use fazai_module_examples::{Loaded, ROOM, built};

fn hostile() -> Loaded {
    Loaded::copy_of(&built().join("hostile.so"), &[])
}

#[test]
fn it_asks_for_no_rights() {
    hostile().check_descriptor("hostile", 0, 0);
}

#[test]
fn answers_that_are_wrong_as_they_should_be() {
    let hostile = hostile();
    let no_nul = hostile.exec("no_nul");
    assert_eq!((no_nul.code, no_nul.ended), (0, false));
    assert_eq!(no_nul.bytes, [b'x'; ROOM]);

    let negative = hostile.exec("negative");
    assert_eq!((negative.code, negative.text()), (-7, "a negative error"));

    let not_utf8 = hostile.exec("not_utf8");
    assert_eq!((not_utf8.code, not_utf8.ended), (0, true));
    assert_eq!(not_utf8.bytes, b"caf\xe9 \xff\xfe end");
    assert!(std::str::from_utf8(&not_utf8.bytes).is_err());
}

#[test]
fn answers_that_are_right() {
    assert_eq!(hostile().good("ok"), "ok");
    assert!(hostile().bad("please").contains("no command 'please'"));
    assert_eq!(hostile().bad("alloc 0"), "alloc MIB takes 1 to 65536");
}
