//! Compiles small modules in C and loads them.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fazai_modhost::{Checked, Entry, Failure, Launcher, Limits, Module, Trust, check};

/// A module directory of its own.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Compiles `tests/modules/SOURCE.c` to `NAME.so`.
    pub(crate) fn compile(&self, source: &str, name: &str, defines: &[&str]) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = self.path().join(format!("{name}.so"));
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-w", "-o"])
            .arg(&file)
            .arg("-I")
            .arg(root.join("../include"))
            .args(defines.iter().map(|define| format!("-D{define}")))
            .arg(root.join("tests/modules").join(source).with_extension("c"))
            .status()
            .expect("a C compiler");
        assert!(made.success(), "{source}.c does not compile");
        // Whatever the umask of whoever runs the tests.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");
        file
    }

    pub(crate) fn check(&self, entry: &Entry) -> Checked {
        check(self.path(), entry, &Trust::Any).expect("nothing is wrong with it")
    }

    /// Compiles and loads a module with the rights of an entry.
    pub(crate) fn load(
        &self,
        source: &str,
        entry: &Entry,
        limits: Limits,
    ) -> Result<Module, Failure> {
        self.compile(source, &entry.name, &[]);
        Module::load(self.check(entry), launcher(), limits)
    }
}

pub(crate) fn launcher() -> Launcher {
    Launcher {
        program: env!("CARGO_BIN_EXE_fazai-modhost").into(),
        args: Vec::new(),
        user: None,
    }
}
