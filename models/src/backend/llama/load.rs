//! From a GGUF file to a llama.cpp model and its context.
#![expect(
    unsafe_code,
    reason = "llama-cpp-2 offers neither loading from an open file nor turning repacking off"
)]

use std::ffi::{CString, c_void};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices};
use llama_cpp_sys_2 as sys;

use super::context::Context;
use super::{buffers, log, vocabulary};
use crate::load::{GpuLayers, LoadError, ModelBytes, Parts, Plan, Progress};
use crate::vocabulary::Vocabulary;

/// llama.cpp's global state: made once, never freed.
pub(super) fn backend() -> &'static LlamaBackend {
    static BACKEND: OnceLock<LlamaBackend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        log::install();
        let backend = LlamaBackend::init();
        let backend = backend.expect("nobody else in this program initializes llama.cpp");
        buffers::take_over();
        backend
    })
}

/// Loads the planned model.
pub(crate) fn load(plan: &Plan, progress: Progress<'_>) -> Result<Parts, LoadError> {
    let backend = backend();
    buffers::use_huge_pages(plan.llama.huge_pages);
    let wanted = match plan.gpu_layers {
        GpuLayers::Auto => -1,
        GpuLayers::Count(layers) => i32::try_from(layers).unwrap_or(i32::MAX),
    };
    let device = device(wanted, backend.supports_gpu_offload());
    let gpu_layers = if device.is_some() { wanted } else { 0 };
    let model = Arc::new(load_model(plan, gpu_layers, progress)?);
    let vocabulary = vocabulary::vocabulary(&model);
    let context = Context::new(model, plan, device.is_none())?;
    Ok(Parts {
        vocabulary,
        backend: Box::new(context),
        device: device.unwrap_or_else(|| why_cpu(wanted)),
    })
}

/// Loads the vocabulary of a file that need not have weights.
pub(crate) fn load_vocabulary(path: &Path) -> Result<Vocabulary, LoadError> {
    backend();
    // SAFETY: a plain function that fills a struct.
    let mut params = unsafe { sys::llama_model_default_params() };
    params.vocab_only = true;
    log::take_errors();
    let model = own(load_from_path(path, params)?).ok_or_else(refused)?;
    Ok(vocabulary::vocabulary(&Arc::new(model)))
}

/// The GPU that will be used.
fn device(wanted_layers: i32, supported: bool) -> Option<String> {
    if wanted_layers == 0 || !supported {
        return None;
    }
    let gpu = list_llama_ggml_backend_devices()
        .into_iter()
        .find(|device| {
            matches!(
                device.device_type,
                LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu
            )
        })?;
    Some(format!("{} ({})", gpu.name, gpu.description))
}

fn why_cpu(wanted_layers: i32) -> String {
    let built = cfg!(any(
        feature = "cuda",
        feature = "vulkan",
        feature = "metal",
        feature = "rocm"
    ));
    let why = match (wanted_layers, built) {
        (0, _) => "gpu_layers is 0",
        (_, false) => "built without a GPU feature",
        (_, true) => "no usable GPU was found",
    };
    format!("CPU ({why})")
}

fn load_model(
    plan: &Plan,
    gpu_layers: i32,
    progress: Progress<'_>,
) -> Result<LlamaModel, LoadError> {
    let mut watcher = Watcher {
        progress,
        stopped: false,
    };
    // SAFETY: a plain function that fills a struct.
    let mut params = unsafe { sys::llama_model_default_params() };
    params.n_gpu_layers = gpu_layers;
    params.use_extra_bufts = plan.repack;
    // Weights that are laid out anew are in memory of their own; mapping the file would keep most
    // of them there twice.
    params.load_mode = match (plan.repack, plan.llama.lock_memory) {
        (true, false) => sys::LLAMA_LOAD_MODE_NONE,
        (true, true) => sys::LLAMA_LOAD_MODE_MLOCK,
        (false, false) => sys::LLAMA_LOAD_MODE_AUTO,
        (false, true) => sys::LLAMA_LOAD_MODE_MMAP_MLOCK,
    };
    params.progress_callback = Some(report);
    params.progress_callback_user_data = std::ptr::from_mut(&mut watcher).cast::<c_void>();
    log::take_errors();
    let model = match (&plan.bytes, &plan.path) {
        (ModelBytes::Builtin(bytes), _) => load_from_memory(bytes, params)?,
        // By its path, because a model may be split over several files.
        (ModelBytes::File(_), Some(path)) => load_from_path(path, params)?,
        (ModelBytes::File(_), None) => unreachable!("a file has a path"),
    };
    let stopped = watcher.stopped;
    own(model).ok_or_else(|| {
        if stopped {
            LoadError::Cancelled
        } else {
            refused()
        }
    })
}

/// The safe owner of a model fresh from the loader.
fn own(model: *mut sys::llama_model) -> Option<LlamaModel> {
    const {
        assert!(size_of::<LlamaModel>() == size_of::<*mut sys::llama_model>());
    }
    if model.is_null() {
        return None;
    }
    // SAFETY: `LlamaModel` is documented as `repr(transparent)` over a non-null pointer to a
    // `llama_model` that it owns; the pointer is fresh from the loader and not null.
    Some(unsafe { std::mem::transmute::<*mut sys::llama_model, LlamaModel>(model) })
}

fn refused() -> LoadError {
    let reason = log::take_errors();
    LoadError::Backend(format!("llama.cpp can't load the model: {reason}"))
}

fn load_from_path(
    path: &Path,
    params: sys::llama_model_params,
) -> Result<*mut sys::llama_model, LoadError> {
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| LoadError::Backend("the path has a NUL byte".into()))?;
    // SAFETY: the path is NUL-terminated, and what `params` points to outlives the call.
    Ok(unsafe { sys::llama_model_load_from_file(path.as_ptr(), params) })
}

/// llama.cpp loads from files only, so the bytes become one without a name.
fn load_from_memory(
    bytes: &[u8],
    params: sys::llama_model_params,
) -> Result<*mut sys::llama_model, LoadError> {
    let mut file = anonymous_file()?;
    file.write_all(bytes)?;
    file.rewind()?;
    // SAFETY: the descriptor is open and owned; `fdopen` takes it over, or it is closed here.
    let stream = unsafe {
        let descriptor = file.into_raw_fd();
        let stream = libc::fdopen(descriptor, c"rb".as_ptr());
        if stream.is_null() {
            libc::close(descriptor);
            return Err(std::io::Error::last_os_error().into());
        }
        stream
    };
    // SAFETY: the stream is open for reading during the call; the model keeps a mapping, not
    // the stream.
    unsafe {
        let model = sys::llama_model_load_from_file_ptr(stream.cast(), params);
        libc::fclose(stream);
        Ok(model)
    }
}

#[cfg(target_os = "linux")]
fn anonymous_file() -> std::io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(File::from(memfd_create(
        "fazai-builtin",
        MemfdFlags::CLOEXEC,
    )?))
}

#[cfg(not(target_os = "linux"))]
fn anonymous_file() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("fazai-builtin-{}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

struct Watcher<'a> {
    progress: Progress<'a>,
    stopped: bool,
}

unsafe extern "C" fn report(done: f32, watcher: *mut c_void) -> bool {
    // SAFETY: the pointer is the `Watcher` that `load_model` keeps alive during the load, and
    // llama.cpp calls this from the loading thread only.
    let watcher = unsafe { &mut *watcher.cast::<Watcher<'_>>() };
    // A panic must not cross the C border.
    let go_on = catch_unwind(AssertUnwindSafe(|| (watcher.progress)(done))).unwrap_or(false);
    watcher.stopped |= !go_on;
    go_on
}
