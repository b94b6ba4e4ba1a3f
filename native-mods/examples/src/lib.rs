//! Calls a native module in this process, as `fazai_mod.h` says, for the tests of the examples.
//!
//! Nothing is checked before a library is loaded and nothing confines it: this is for modules that
//! one has built oneself, not a way to run others.
#![expect(unsafe_code, reason = "C functions are called")]
#![expect(clippy::unwrap_used, reason = "for tests, which fail by a panic")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, ptr, slice};

use fazai_module::Descriptor;
use libloading::Library;

/// The size of buffer that callers have always used.
pub const ROOM: usize = 8192;

/// What lies behind a buffer, to see whether it was kept to.
const GUARD: [u8; 64] = [0x55; 64];

type Init = unsafe extern "C" fn() -> c_int;
type Exec = unsafe extern "C" fn(*const c_char, *mut c_char, c_int) -> c_int;
type Emit = unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int;
type Stream = unsafe extern "C" fn(*const c_char, Emit, *mut c_void) -> c_int;
type Cleanup = unsafe extern "C" fn();
type Health = unsafe extern "C" fn(*mut c_char, c_int) -> c_int;

/// A module that was loaded and had its `init`. Dropping it calls `cleanup`.
#[derive(Debug)]
pub struct Loaded {
    library: Library,
    folder: PathBuf,
}

/// What a call returned.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0 is success.
    pub code: i32,
    /// What is before the first NUL, or the whole buffer where there is none.
    pub bytes: Vec<u8>,
    /// Whether there was a NUL.
    pub ended: bool,
}

impl Answer {
    /// The answer as text. Panics if it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        assert!(self.ended, "no NUL ends this answer");
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

/// What a descriptor says.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// The fields before the texts, in their order.
    pub numbers: [u64; 6],
    /// The module's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// A JSON list.
    pub commands: String,
}

/// The folder of the examples, with all that are in C and C++ built.
#[must_use]
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = Command::new("make").arg("-C").arg(folder).output();
        let made = made.expect("the tests need `make`, `cc` and `c++`: install build-essential");
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "make failed:\n{errors}");
        folder.join("build")
    })
}

impl Loaded {
    /// Loads a copy of `library`, with the files in `beside` next to it. A copy, because one file
    /// is loaded once in a process, and tests that run side by side would share its state.
    #[must_use]
    pub fn copy_of(library: &Path, beside: &[&Path]) -> Self {
        static COPIES: AtomicU32 = AtomicU32::new(0);
        let copy = COPIES.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("fazai-module-{}-{copy}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        for file in beside.iter().chain([&library]) {
            let to = folder.join(file.file_name().unwrap());
            fs::copy(file, to).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        let path = folder.join(library.file_name().unwrap());
        // SAFETY: it is one of our examples, whose code that runs at loading does nothing unsound.
        let library = unsafe { Library::new(path) }.unwrap();
        let loaded = Self { library, folder };
        // SAFETY: the header's type of this function; it is the first one called.
        let code = unsafe { loaded.symbol::<Init>(c"fazai_mod_init").unwrap()() };
        assert_eq!(code, 0, "fazai_mod_init");
        loaded
    }

    /// # Safety
    /// `T` is the header's type of the function `name`.
    unsafe fn symbol<T: Copy>(&self, name: &CStr) -> Option<T> {
        // SAFETY: promised by the caller. The library stays loaded as long as `self`.
        unsafe { self.library.get::<T>(name.to_bytes_with_nul()) }
            .ok()
            .map(|symbol| *symbol)
    }

    /// Runs a command.
    #[must_use]
    pub fn exec(&self, command: &str) -> Answer {
        let command = CString::new(command).unwrap();
        // SAFETY: the header's type. Both pointers live for the call.
        self.call(|result, len| unsafe {
            self.symbol::<Exec>(c"fazai_mod_exec").unwrap()(command.as_ptr(), result, len)
        })
    }

    /// Runs a command in pieces, and gives them together. None if the module can't.
    #[must_use]
    pub fn stream(&self, command: &str) -> Option<Answer> {
        // SAFETY: the header's type.
        let stream = unsafe { self.symbol::<Stream>(c"fazai_mod_exec_stream") }?;
        let command = CString::new(command).unwrap();
        let mut bytes = Vec::new();
        // SAFETY: all three live for the call, and `append` expects this `context`.
        let code = unsafe { stream(command.as_ptr(), append, ptr::from_mut(&mut bytes).cast()) };
        Some(Answer {
            code,
            bytes,
            ended: true,
        })
    }

    /// Asks for the module's health. None if it has no such function.
    #[must_use]
    pub fn health(&self) -> Option<Answer> {
        // SAFETY: the header's type.
        let health = unsafe { self.symbol::<Health>(c"fazai_mod_health") }?;
        // SAFETY: the buffer lives for the call.
        Some(self.call(|result, len| unsafe { health(result, len) }))
    }

    fn call(&self, run: impl FnOnce(*mut c_char, c_int) -> c_int) -> Answer {
        let mut buffer = vec![0; ROOM];
        buffer.extend(GUARD);
        let code = run(buffer.as_mut_ptr().cast(), c_int::try_from(ROOM).unwrap());
        assert_eq!(buffer[ROOM..], GUARD, "the module wrote past its buffer");
        buffer.truncate(ROOM);
        let end = buffer.iter().position(|&byte| byte == 0);
        buffer.truncate(end.unwrap_or(ROOM));
        Answer {
            code,
            bytes: buffer,
            ended: end.is_some(),
        }
    }

    /// What the module tells about itself. None in version 0.
    #[must_use]
    pub fn descriptor(&self) -> Option<Described> {
        let text = |pointer| {
            // SAFETY: a text ended by a NUL that lives as long as the library.
            unsafe { CStr::from_ptr(pointer) }
                .to_str()
                .unwrap()
                .to_owned()
        };
        // SAFETY: the symbol is an object of this type, or absent.
        let descriptor = unsafe {
            self.symbol::<*const Descriptor>(c"fazai_mod_descriptor")?
                .as_ref()
        }
        .unwrap();
        Some(Described {
            numbers: [
                descriptor.magic.into(),
                descriptor.abi.into(),
                descriptor.struct_size.into(),
                descriptor.reserved.into(),
                descriptor.capabilities,
                descriptor.flags,
            ],
            name: text(descriptor.name),
            version: text(descriptor.version),
            description: text(descriptor.description),
            commands: text(descriptor.commands),
        })
    }

    /// Whether the descriptor is one of version 1 with this name and these rights and flags, and
    /// its commands can be read. Panics if not.
    #[track_caller]
    pub fn check_descriptor(&self, name: &str, capabilities: u64, flags: u64) {
        let described = self.descriptor().expect("a descriptor");
        let magic = u64::from(fazai_module::MAGIC);
        assert_eq!(described.numbers, [magic, 1, 64, 0, capabilities, flags]);
        assert_eq!(described.name, name);
        assert_ne!(described.version, "");
        assert_ne!(described.description, "");
        assert_eq!(fazai_module::check_commands(&described.commands), Ok(()));
    }

    /// Runs a command that succeeds, and gives its text.
    #[track_caller]
    #[must_use]
    pub fn good(&self, command: &str) -> String {
        let answer = self.exec(command);
        assert_eq!(answer.code, 0, "{command}: {}", answer.text());
        answer.text().to_owned()
    }

    /// Runs a command that fails, and gives its text.
    #[track_caller]
    #[must_use]
    pub fn bad(&self, command: &str) -> String {
        let answer = self.exec(command);
        assert_eq!(answer.code, 1, "{command}: {}", answer.text());
        answer.text().to_owned()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the header's type of this function; it is the last one called.
        unsafe { self.symbol::<Cleanup>(c"fazai_mod_cleanup").unwrap()() };
        let _ = fs::remove_dir_all(&self.folder);
    }
}

unsafe extern "C" fn append(context: *mut c_void, piece: *const c_char, len: usize) -> c_int {
    // SAFETY: `stream` passes its vector, and the module a piece and its length.
    unsafe {
        (*context.cast::<Vec<u8>>()).extend(slice::from_raw_parts(piece.cast::<u8>(), len));
    }
    0
}
