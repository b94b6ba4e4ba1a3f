//! Any bytes as a model file's header: an error or a header, never a panic, and no memory beyond
//! what the bytes themselves could hold.
#![no_main]

use fazai_models::gguf::{Gguf, Lists};
use fazai_models::memory::needs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for lists in [Lists::Keep, Lists::Skip] {
        if let Ok(gguf) = Gguf::read(bytes, bytes.len() as u64, lists) {
            let _ = (gguf.architecture(), gguf.quantization(), gguf.parameters());
            let _ = needs(&gguf, 4_096, 512);
        }
    }
});
