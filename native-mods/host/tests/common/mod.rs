//! Compiles small modules in C and loads them.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fazai_modhost::{
    Call, Checked, Entry, Failure, Isolation, Keys, Launcher, Limits, Module, Trust, check, sign,
};

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

    /// Compiles a module that is signed and trusted.
    pub(crate) fn trusted(&self, source: &str, defines: &[&str]) -> Checked {
        let file = self.compile(source, source, defines);
        let keys = sign::generate(None).expect("keys");
        let bytes = fs::read(&file).expect("read");
        let signature = sign::sign(&bytes, &keys.secret_key, None, source).expect("signed");
        let beside = file.with_extension("so.minisig");
        fs::write(&beside, signature).expect("written");
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)).expect("permissions");
        let keys = Keys::parse([keys.public_key.as_str()]).expect("a key");
        let entry = Entry {
            trusted: true,
            ..Entry::unlisted(source)
        };
        check(self.path(), &entry, &Trust::Signature(keys)).expect("signed")
    }

    /// Loads such a module into this process.
    pub(crate) fn load_here(&self, source: &str, defines: &[&str], limits: Limits) -> Module {
        let checked = self.trusted(source, defines);
        Module::load(checked, Isolation::InProcess, limits).expect("loads")
    }

    /// Compiles and loads a module with the rights of an entry.
    pub(crate) fn load(
        &self,
        source: &str,
        entry: &Entry,
        limits: Limits,
    ) -> Result<Module, Failure> {
        self.compile(source, &entry.name, &[]);
        Module::load(self.check(entry), own_process(), limits)
    }
}

pub(crate) fn launcher() -> Launcher {
    Launcher {
        program: env!("CARGO_BIN_EXE_fazai-modhost").into(),
        args: Vec::new(),
        user: None,
    }
}

pub(crate) fn own_process() -> Isolation {
    Isolation::Process(launcher())
}

/// The module `stream` goes on after whoever reads its answer has panicked.
#[track_caller]
pub(crate) fn outlives_a_reader_that_panics(module: &Module) {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = module.exec_stream("three", &Call::default(), &mut |_| {
            panic!("as the test wants it")
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(module.exec("three").expect("answers").text, "one € three");
}
