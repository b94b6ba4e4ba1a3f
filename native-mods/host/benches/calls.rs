//! What a call costs: the function itself, inside this process, through the module's own process,
//! and through a program that is started for each call, as `popen` does.
#![expect(unsafe_code, reason = "the plain call of a C function to compare with")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::ffi::{c_char, c_int};
use std::hint::black_box;
use std::io::Read;
use std::process::{Command, Stdio};

use common::Dir;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fazai_modhost::{Entry, Limits};

type Exec = unsafe extern "C" fn(*const c_char, *mut c_char, c_int) -> c_int;

fn echo(bench: &mut Criterion) {
    let dir = Dir::new();
    let file = dir.compile("bare", "bare", &[]);
    let mut group = bench.benchmark_group("echo");
    group.throughput(Throughput::Elements(1));

    // SAFETY: the module of the tests has this function, of this type.
    let library = unsafe { libloading::Library::new(&file) }.expect("loads");
    // SAFETY: as above.
    let exec = unsafe { library.get::<Exec>(b"fazai_mod_exec") }.expect("exported");
    let mut result = [0_u8; 8192];
    group.bench_function("plain_call", |bench| {
        bench.iter(|| {
            // SAFETY: the command ends with a NUL, and the buffer is as long as it says.
            black_box(unsafe { exec(c"echo hi".as_ptr(), result.as_mut_ptr().cast(), 8192) })
        });
    });

    let module = dir.load_here("bare", &[], Limits::default());
    group.bench_function("in_process", |bench| {
        bench.iter(|| black_box(module.exec("echo hi").expect("answers")));
    });

    let module = dir
        .load("bare", &Entry::unlisted("bare"), Limits::default())
        .expect("loads");
    group.bench_function("own_process", |bench| {
        bench.iter(|| black_box(module.exec("echo hi").expect("answers")));
    });

    group.bench_function("popen", |bench| {
        bench.iter(|| {
            let mut child = Command::new("/bin/sh")
                .args(["-c", "echo hi"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts");
            let mut text = String::new();
            let mut out = child.stdout.take().expect("a pipe");
            out.read_to_string(&mut text).expect("reads");
            child.wait().expect("ends");
            black_box(text)
        });
    });
    group.finish();
}

fn large(bench: &mut Criterion) {
    const BYTES: usize = 1 << 20;
    let dir = Dir::new();
    let mut group = bench.benchmark_group("one_megabyte");
    group.throughput(Throughput::Bytes(BYTES as u64));

    // The first is asked twice: its first buffer is too small.
    for (source, command, kind) in [
        ("full", format!("fill {BYTES}"), "grown_buffer"),
        ("stream", format!("bytes {BYTES}"), "stream"),
    ] {
        let here = dir.load_here(source, &[], Limits::default());
        let own = dir.load(source, &Entry::unlisted(source), Limits::default());
        let own = own.expect("loads");
        for (place, module) in [("in_process", here), ("own_process", own)] {
            group.bench_function(format!("{kind}/{place}"), |bench| {
                bench.iter(|| {
                    let answer = module.exec(&command).expect("answers");
                    assert_eq!(answer.text.len(), BYTES);
                    answer
                });
            });
        }
    }

    group.bench_function("popen", |bench| {
        bench.iter(|| {
            let mut child = Command::new("/usr/bin/head")
                .args(["-c", &BYTES.to_string(), "/dev/zero"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts");
            let mut bytes = Vec::new();
            child
                .stdout
                .take()
                .expect("a pipe")
                .read_to_end(&mut bytes)
                .expect("reads");
            child.wait().expect("ends");
            assert_eq!(bytes.len(), BYTES);
            bytes
        });
    });
    group.finish();
}

criterion_group!(benches, echo, large);
criterion_main!(benches);
