//! The Rust mirror of the descriptor and its constants against the C header, by way of a compiler.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

use fazai_module::{ABI, Descriptor, EXEC, FILES, GROW, MAGIC, NETWORK, THREADS};

/// Each line is what C says of a name: the same lines are made from Rust below.
const PROGRAM: &str = r#"
#include "fazai_mod.h"
#include <stdio.h>
#define FIELD(name) printf(#name " at %zu, %zu bytes\n", \
    offsetof(struct fazai_mod_descriptor, name), sizeof(((struct fazai_mod_descriptor *)0)->name))
#define VALUE(name) printf(#name " is %llu\n", (unsigned long long)FAZAI_MOD_##name)
int main(void) {
    printf("size %zu, alignment %zu\n", sizeof(struct fazai_mod_descriptor),
           _Alignof(struct fazai_mod_descriptor));
    FIELD(magic); FIELD(abi); FIELD(struct_size); FIELD(reserved); FIELD(capabilities);
    FIELD(flags); FIELD(name); FIELD(version); FIELD(description); FIELD(commands);
    VALUE(MAGIC); VALUE(ABI); VALUE(NETWORK); VALUE(FILES); VALUE(EXEC); VALUE(THREADS);
    VALUE(GROW);
    return 0;
}
"#;

fn rust() -> String {
    fn size_of_field<T>(_: fn(&Descriptor) -> T) -> usize {
        size_of::<T>()
    }
    let mut lines = String::new();
    let (size, alignment) = (size_of::<Descriptor>(), align_of::<Descriptor>());
    writeln!(lines, "size {size}, alignment {alignment}").unwrap();
    macro_rules! field {
        ($($name:ident)*) => {$(
            let (at, bytes) = (offset_of!(Descriptor, $name), size_of_field(|it: &Descriptor| it.$name));
            writeln!(lines, "{} at {at}, {bytes} bytes", stringify!($name)).unwrap();
        )*};
    }
    field!(magic abi struct_size reserved capabilities flags name version description commands);
    macro_rules! value {
        ($($name:ident)*) => {$(writeln!(lines, "{} is {}", stringify!($name), $name).unwrap();)*};
    }
    value!(MAGIC ABI NETWORK FILES EXEC THREADS GROW);
    lines
}

#[test]
fn the_descriptor_is_that_of_the_header() {
    if Command::new("cc").arg("--version").output().is_err() {
        // Not eprintln, which the test runner hides where the test passes.
        let notice = "SKIPPED: there is no C compiler `cc`, so nobody compared the layouts";
        writeln!(io::stderr(), "{notice}").unwrap();
        return;
    }
    let folder = env::temp_dir().join(format!("fazai-module-layout-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("layout.c"), PROGRAM).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(include)
        .args(["layout.c", "-o", "layout"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{errors}");
    let output = Command::new(folder.join("layout")).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), rust());
}
