//! The C side of a module: its symbols and its descriptor, as `fazai_mod.h` has them.
#![expect(
    unsafe_code,
    reason = "a foreign library is loaded, called, and its constants read"
)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::manifest::valid_name;
use crate::message::{COMMANDS_BYTES_MAX, DESCRIPTION_BYTES_MAX, RawDescriptor, VERSION_BYTES_MAX};
use crate::text::text;

const MAGIC: u32 = 0x4d5a_4146;
const ABI: u32 = 1;
const NAME_BYTES_MAX: usize = 64;
const THREADS: u64 = 1;
const GROW: u64 = 2;
pub(crate) const NETWORK: u64 = 1;
pub(crate) const FILES: u64 = 2;
pub(crate) const EXEC: u64 = 4;

type Init = unsafe extern "C" fn() -> c_int;
type Exec = unsafe extern "C" fn(*const c_char, *mut c_char, c_int) -> c_int;
type Cleanup = unsafe extern "C" fn();
type Emit = unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int;
type ExecStream = unsafe extern "C" fn(*const c_char, Emit, *mut c_void) -> c_int;
type Health = unsafe extern "C" fn(*mut c_char, c_int) -> c_int;

/// `struct fazai_mod_descriptor`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CDescriptor {
    magic: u32,
    abi: u32,
    struct_size: u32,
    reserved: u32,
    capabilities: u64,
    flags: u64,
    name: *const c_char,
    version: *const c_char,
    description: *const c_char,
    commands: *const c_char,
}

/// The smallest descriptor: up to its name.
const DESCRIPTOR_BYTES_MIN: usize = mem::offset_of!(CDescriptor, version);

/// A module in this process, which only its own functions use. It is never unloaded: its threads may still run in its code.
#[derive(Debug)]
pub(crate) struct Loaded {
    init: Init,
    exec: Exec,
    cleanup: Cleanup,
    stream: Option<ExecStream>,
    health: Option<Health>,
    flags: u64,
    descriptor: Option<RawDescriptor>,
}

impl Loaded {
    /// Loads the file behind a descriptor, whose constructors run, and finds its functions. The
    /// loader knows files by their names: a descriptor that is closed, and whose number comes to
    /// be another file's, would be this module again.
    pub(crate) fn open(image: BorrowedFd<'_>) -> Result<Self, String> {
        let path = format!("/proc/self/fd/{}", image.as_raw_fd());
        // SAFETY: the constructors may do anything; this process is there for that, or its
        // administrator and a trusted key vouch for them.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| format!("the file can't be loaded: {error}"))?;
        // Nothing is unloaded, so that the functions live as long as the process.
        let library = mem::ManuallyDrop::new(library);
        // SAFETY: the symbols have the types of the header, or the module breaks its contract and
        // ends this process.
        unsafe {
            let descriptor = match symbol::<*const CDescriptor>(&library, "fazai_mod_descriptor") {
                Some(at) => Some(read_descriptor(at)?),
                None => None,
            };
            let required = |name: &str| {
                format!(
                    "it does not export {name}; compile it against fazai_mod.h, in C++ within \
                         extern \"C\""
                )
            };
            Ok(Self {
                init: symbol(&library, "fazai_mod_init")
                    .ok_or_else(|| required("fazai_mod_init"))?,
                exec: symbol(&library, "fazai_mod_exec")
                    .ok_or_else(|| required("fazai_mod_exec"))?,
                cleanup: symbol(&library, "fazai_mod_cleanup")
                    .ok_or_else(|| required("fazai_mod_cleanup"))?,
                stream: symbol(&library, "fazai_mod_exec_stream"),
                health: symbol(&library, "fazai_mod_health"),
                flags: descriptor.as_ref().map_or(0, |known| known.flags),
                descriptor,
            })
        }
    }

    pub(crate) fn init(&self) -> Result<(), String> {
        // SAFETY: called first and once, as the header says.
        match unsafe { (self.init)() } {
            0 => Ok(()),
            code => Err(format!("its fazai_mod_init returned {code}")),
        }
    }

    pub(crate) fn cleanup(&self) {
        // SAFETY: called last and once.
        unsafe { (self.cleanup)() }
    }

    /// Runs a command into a buffer.
    pub(crate) fn exec(&self, command: &CString, result: &mut [u8]) -> c_int {
        let length = c_int::try_from(result.len()).unwrap_or(c_int::MAX);
        // SAFETY: the command ends with a NUL, and the buffer has `length` bytes.
        unsafe { (self.exec)(command.as_ptr(), result.as_mut_ptr().cast(), length) }
    }

    pub(crate) fn streams(&self) -> bool {
        self.stream.is_some()
    }

    /// Runs a command that hands over pieces; `emit` says whether nobody wants more. None: the
    /// module has no such function.
    pub(crate) fn exec_stream<F: FnMut(&[u8]) -> bool>(
        &self,
        command: &CString,
        mut emit: F,
    ) -> Option<c_int> {
        let stream = self.stream?;
        let context = (&raw mut emit).cast();
        // SAFETY: the context is the closure that `piece::<F>` expects, and outlives the call.
        Some(unsafe { stream(command.as_ptr(), piece::<F>, context) })
    }

    /// Asks whether the module can work. None: the module has no such function.
    pub(crate) fn health(&self, result: &mut [u8]) -> Option<c_int> {
        let health = self.health?;
        let length = c_int::try_from(result.len()).unwrap_or(c_int::MAX);
        // SAFETY: the buffer has `length` bytes.
        Some(unsafe { health(result.as_mut_ptr().cast(), length) })
    }

    /// Whether a call that filled its buffer may be repeated.
    pub(crate) fn grows(&self) -> bool {
        self.flags & GROW != 0
    }

    /// Whether calls may run side by side.
    pub(crate) fn side_by_side(&self) -> bool {
        self.flags & THREADS != 0
    }

    pub(crate) fn take_descriptor(&mut self) -> Option<RawDescriptor> {
        self.descriptor.take()
    }
}

/// What a module calls with a piece.
unsafe extern "C" fn piece<F: FnMut(&[u8]) -> bool>(
    context: *mut c_void,
    piece: *const c_char,
    length: usize,
) -> c_int {
    let bytes = if piece.is_null() || length > isize::MAX.cast_unsigned() {
        &[][..]
    } else {
        // SAFETY: the module says that there are this many bytes.
        unsafe { std::slice::from_raw_parts(piece.cast(), length) }
    };
    // SAFETY: `exec_stream` made the context, and the module calls from the thread it runs on.
    let emit = unsafe { &mut *context.cast::<F>() };
    c_int::from(emit(bytes))
}

/// # Safety
/// `T` is the pointer type of the symbol.
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Option<T> {
    // SAFETY: as the caller promises.
    unsafe { library.get::<T>(name.as_bytes()) }
        .ok()
        .map(|symbol| *symbol)
}

/// # Safety
/// `at` points to as many bytes as the field `struct_size` there says, and its texts end.
unsafe fn read_descriptor(at: *const CDescriptor) -> Result<RawDescriptor, String> {
    // SAFETY: the first four numbers are there whatever the version.
    let (magic, abi, size) = unsafe { ((*at).magic, (*at).abi, (*at).struct_size as usize) };
    if magic != MAGIC {
        return Err(format!(
            "its fazai_mod_descriptor begins with {magic:#x} instead of FAZAI_MOD_MAGIC; set \
             `magic`"
        ));
    }
    if abi == 0 || abi > ABI {
        return Err(format!(
            "it was made for ABI {abi}, this host knows up to {ABI}; update the host, or compile \
             the module against this host's fazai_mod.h"
        ));
    }
    if size < DESCRIPTOR_BYTES_MIN {
        return Err(format!(
            "its descriptor says that it has {size} bytes; set struct_size to \
             sizeof(struct fazai_mod_descriptor)"
        ));
    }
    // Fields that the module does not have are 0.
    let mut known = MaybeUninit::<CDescriptor>::zeroed();
    // SAFETY: no more is copied than the one side has and the other holds; zeros are null
    // pointers and numbers.
    let known = unsafe {
        let bytes = size.min(size_of::<CDescriptor>());
        std::ptr::copy_nonoverlapping(at.cast::<u8>(), known.as_mut_ptr().cast(), bytes);
        known.assume_init()
    };
    // SAFETY: as the caller promises.
    let field = |name, at, max| unsafe { bounded(name, at, max) };
    let name = field("name", known.name, NAME_BYTES_MAX)?;
    if !valid_name(&name) {
        return Err(format!(
            "its descriptor's name is `{name}`; use 1 to 64 characters of a-z, 0-9, _ and -"
        ));
    }
    Ok(RawDescriptor {
        capabilities: known.capabilities,
        flags: known.flags,
        name,
        version: field("version", known.version, VERSION_BYTES_MAX)?,
        description: field("description", known.description, DESCRIPTION_BYTES_MAX)?,
        commands: field("commands", known.commands, COMMANDS_BYTES_MAX)?,
    })
}

/// # Safety
/// A pointer that is not null leads to a NUL, or to more than `max` bytes.
unsafe fn bounded(field: &str, at: *const c_char, max: usize) -> Result<String, String> {
    if at.is_null() {
        return Ok(String::new());
    }
    // SAFETY: strnlen stops at the NUL, and what it counted is there.
    let bytes = unsafe {
        let length = libc::strnlen(at, max + 1);
        std::slice::from_raw_parts(at.cast::<u8>(), length)
    };
    if bytes.len() > max {
        return Err(format!(
            "its descriptor's {field} has over {max} bytes; shorten it"
        ));
    }
    Ok(text(bytes.to_vec()))
}
