//! A module through its C symbols, as a worker calls it.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(unsafe_code, reason = "the C functions are called")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use fazai_module::{Descriptor, Module, Pieces, fazai_module, split};

struct Sample {
    calls: AtomicU32,
}

static REFUSE: AtomicBool = AtomicBool::new(true);
static CLEANED: AtomicU32 = AtomicU32::new(0);

impl Module for Sample {
    fn init() -> Result<Self, String> {
        if REFUSE.load(Ordering::Relaxed) {
            return Err("not today".to_owned());
        }
        Ok(Self {
            calls: AtomicU32::new(0),
        })
    }

    fn exec(&self, command: &str) -> Result<String, String> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match split(command) {
            ("echo", text) => Ok(text.to_owned()),
            ("count", _) => Ok(calls.to_string()),
            ("long", _) => Ok("\u{e9}".repeat(10_000)),
            ("panic", text) => panic!("{text}"),
            (other, _) => Err(format!("no command '{other}'")),
        }
    }

    fn stream(&self, command: &str, pieces: &mut Pieces<'_>) -> Result<(), String> {
        match split(command) {
            ("words", text) => {
                for word in text.split(' ') {
                    pieces.send(word)?;
                }
                Ok(())
            }
            _ => Ok(pieces.send(&self.exec(command)?)?),
        }
    }

    fn health(&self) -> Result<(), String> {
        match self.calls.load(Ordering::Relaxed) {
            0 => Err("it was never called".to_owned()),
            _ => Ok(()),
        }
    }

    fn cleanup(self) {
        CLEANED.fetch_add(1, Ordering::Relaxed);
        panic!("on the way out");
    }
}

fazai_module! {
    module: Sample,
    name: "sample",
    description: "For tests: caf\u{e9}.",
    commands: r#"[{"name": "echo"}]"#,
    capabilities: fazai_module::NETWORK | fazai_module::EXEC,
    flags: fazai_module::THREADS,
}

unsafe extern "C" {
    safe static fazai_mod_descriptor: Descriptor;
    safe fn fazai_mod_init() -> c_int;
    fn fazai_mod_exec(command: *const c_char, result: *mut c_char, result_len: c_int) -> c_int;
    fn fazai_mod_exec_stream(
        command: *const c_char,
        emit: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int,
        context: *mut c_void,
    ) -> c_int;
    fn fazai_mod_health(result: *mut c_char, result_len: c_int) -> c_int;
    safe fn fazai_mod_cleanup();
}

const ROOM: usize = 8192;

fn call(run: impl FnOnce(*mut c_char, c_int) -> c_int) -> (c_int, String) {
    // What lies behind the buffer shows whether it was kept to.
    let mut buffer = vec![0x55_u8; ROOM + 16];
    let code = run(buffer.as_mut_ptr().cast(), c_int::try_from(ROOM).unwrap());
    assert_eq!(buffer[ROOM..], [0x55; 16]);
    let text = CStr::from_bytes_until_nul(&buffer[..ROOM]).unwrap();
    (code, text.to_str().unwrap().to_owned())
}

fn exec(command: &[u8]) -> (c_int, String) {
    let command = CString::new(command).unwrap();
    // SAFETY: both pointers live for the call, and the length is the buffer's.
    call(|result, len| unsafe { fazai_mod_exec(command.as_ptr(), result, len) })
}

fn health() -> (c_int, String) {
    // SAFETY: the buffer lives for the call, and the length is its own.
    call(|result, len| unsafe { fazai_mod_health(result, len) })
}

struct Seen {
    pieces: Vec<String>,
    wanted: usize,
}

unsafe extern "C" fn emit(context: *mut c_void, piece: *const c_char, len: usize) -> c_int {
    // SAFETY: `stream` below passes a `Seen`, and the module a piece and its length.
    let (seen, piece) = unsafe {
        (
            &mut *context.cast::<Seen>(),
            std::slice::from_raw_parts(piece.cast::<u8>(), len),
        )
    };
    seen.pieces.push(String::from_utf8(piece.to_vec()).unwrap());
    c_int::from(seen.pieces.len() >= seen.wanted)
}

fn stream(command: &str, wanted: usize) -> (c_int, Vec<String>) {
    let command = CString::new(command).unwrap();
    let mut seen = Seen {
        pieces: Vec::new(),
        wanted,
    };
    let context = ptr::from_mut(&mut seen).cast();
    // SAFETY: all three live for the call, and `context` is what `emit` expects.
    let code = unsafe { fazai_mod_exec_stream(command.as_ptr(), emit, context) };
    (code, seen.pieces)
}

fn text(pointer: *const c_char) -> &'static str {
    // SAFETY: the descriptor's texts live as long as the process.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap()
}

fn answer(code: c_int, text: &str) -> (c_int, String) {
    (code, text.to_owned())
}

#[test]
fn the_descriptor_says_what_the_macro_was_told() {
    let descriptor = &fazai_mod_descriptor;
    assert_eq!(descriptor.magic.to_le_bytes(), *b"FAZM");
    assert_eq!(descriptor.abi, 1);
    assert_eq!(descriptor.struct_size, 64);
    assert_eq!(descriptor.reserved, 0);
    assert_eq!(descriptor.capabilities, 1 | 4);
    assert_eq!(descriptor.flags, 1);
    assert_eq!(text(descriptor.name), "sample");
    assert_eq!(text(descriptor.version), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(descriptor.description), "For tests: caf\u{e9}.");
    assert_eq!(text(descriptor.commands), r#"[{"name": "echo"}]"#);
}

/// One test, since there is one module and its life has an order.
#[test]
fn a_life_from_init_to_cleanup() {
    let absent = "fazai_mod_init was not called, or failed: load the module again";
    assert_eq!(exec(b"echo hi"), answer(1, absent));
    assert_eq!(fazai_mod_init(), 1);
    assert_eq!(exec(b"echo hi"), answer(1, absent));
    REFUSE.store(false, Ordering::Relaxed);
    assert_eq!(fazai_mod_init(), 0);

    assert_eq!(health(), answer(1, "it was never called"));
    assert_eq!(exec(b"echo hi"), answer(0, "hi"));
    assert_eq!(health(), answer(0, ""));
    assert_eq!(exec(b"what"), answer(1, "no command 'what'"));
    assert_eq!(exec(b"echo caf\xe9"), answer(0, "caf\u{fffd}"));
    assert_eq!(exec(b"panic boom"), answer(1, "the module panicked: boom"));
    assert_eq!(exec(b"count"), answer(0, "5"), "it goes on after a panic");

    let (code, long) = exec(b"long");
    assert_eq!((code, long.len()), (0, ROOM - 1));
    assert_eq!(long.trim_end(), "\u{e9}".repeat((ROOM - 1) / 2));
    assert_eq!(long.chars().last(), Some(' '), "the gap is filled");

    // SAFETY: null pointers and lengths without a buffer are what is tested.
    unsafe {
        assert_eq!(fazai_mod_exec(ptr::null(), ptr::null_mut(), 0), 1);
        assert_eq!(fazai_mod_exec(c"count".as_ptr(), ptr::null_mut(), 9), 0);
        assert_eq!(
            fazai_mod_exec(c"count".as_ptr(), ptr::dangling_mut(), -1),
            0
        );
    }

    let pieces = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    assert_eq!(stream("words a b c", 9), (0, pieces(&["a", "b", "c"])));
    assert_eq!(stream("words a b c", 2), (1, pieces(&["a", "b"])));
    assert_eq!(stream("echo hi", 9), (0, pieces(&["hi"])));
    assert_eq!(stream("what", 9), (1, pieces(&["no command 'what'"])));
    let panicked = pieces(&["the module panicked: boom"]);
    assert_eq!(stream("panic boom", 9), (1, panicked));
    let long = "\u{e9}".repeat(10_000);
    assert_eq!(stream("long", 9), (0, pieces(&[&long])));

    fazai_mod_cleanup();
    fazai_mod_cleanup();
    assert_eq!(CLEANED.load(Ordering::Relaxed), 1);
    assert_eq!(exec(b"echo hi"), answer(1, absent));
    assert_eq!(fazai_mod_init(), 0);
    assert_eq!(exec(b"count"), answer(0, "1"));
}
