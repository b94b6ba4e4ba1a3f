//! `status` (and `observe` with input "status"): what is loaded, what waits, what was done.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use fazai_protocol::{Done, VERSION};
use serde_json::{Value, json};

use super::Context;
use crate::registry::{LiveModel, ModelState};

pub(super) async fn answer(context: &Context) -> Done {
    let worker = &context.worker;
    let models = worker.shared.registry.list().await;
    let counters = &worker.shared.counters;
    let uptime = worker.shared.started.elapsed();
    let data = json!({
        "protocol": VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        "models": models.iter().map(describe).collect::<Vec<_>>(),
        "connections": counters.connections_open.load(Ordering::Relaxed),
        "connections_total": counters.connections.load(Ordering::Relaxed),
        "requests_live": worker.shared.live.count(),
        "requests_total": counters.requests.load(Ordering::Relaxed),
        "requests_failed": counters.failures.load(Ordering::Relaxed),
        "control_groups": worker.shared.acting.groups_state(),
        "own_view": worker.shared.acting.own_view_state(),
        "watch": worker.shared.watching.state(),
        "sessions": worker.shared.sessions.count(),
        "draining": worker.shared.draining.is_cancelled(),
    });
    let mut text = format!(
        "fazai {} up {} s, {} connections, {} requests",
        env!("CARGO_PKG_VERSION"),
        uptime.as_secs(),
        data["connections"],
        data["requests_total"],
    );
    for model in &models {
        let _ = match model {
            ModelState::Loading(name, percent) => write!(text, "\n{name}: loading, {percent} %"),
            ModelState::Ready(model) => write!(
                text,
                "\n{}: {} of {} slots busy, {} waiting, {} tokens written",
                model.title,
                model.engine.stats().slots_busy(),
                model.engine.stats().slots(),
                model.engine.stats().waiting(),
                model.engine.stats().output_tokens(),
            ),
        };
    }
    context.done_with(text, data)
}

fn describe(state: &ModelState) -> Value {
    match state {
        ModelState::Loading(name, percent) => {
            json!({ "name": name, "state": "loading", "percent": percent })
        }
        ModelState::Ready(model) => describe_model(model),
    }
}

/// A loaded model, as `status` and `models` show it.
pub(super) fn describe_model(model: &LiveModel) -> Value {
    let info = &model.info;
    let stats = model.engine.stats();
    json!({
        "name": model.name,
        "state": "ready",
        "title": model.title,
        "architecture": info.architecture,
        "parameters": info.parameters,
        "quantization": info.quantization,
        "file_bytes": info.file_bytes,
        "memory_bytes": info.needs.total(),
        "kv_cache_bytes": info.needs.kv_cache,
        "kv_type": info.kv_type.name(),
        "kv_cache_bytes_used": info.needs.kv_cache / u64::from(info.cells.max(1)) * u64::from(stats.cells_used()),
        "context_tokens": info.context_tokens,
        "trained_tokens": info.trained_tokens,
        "backend": info.backend.name(),
        "device": info.device,
        "threads": Some(stats.threads()).filter(|now| *now > 0).unwrap_or(info.threads),
        "load_ms": model.load_time.as_secs_f64() * 1e3,
        "slots": stats.slots(),
        "slots_busy": stats.slots_busy(),
        "waiting": stats.waiting(),
        "cells": stats.cells(),
        "cells_used": stats.cells_used(),
        "cells_live": stats.cells_live(),
        "paused": stats.paused(),
        "jobs": stats.jobs(),
        "jobs_cancelled": stats.jobs_cancelled(),
        "pauses": stats.pauses(),
        "prompt_tokens": stats.prompt_tokens(),
        "cached_tokens": stats.cached_tokens(),
        "output_tokens": stats.output_tokens(),
        "guessed_tokens": stats.guessed_tokens(),
        "guessed_right": stats.guessed_right(),
        "decodes": stats.decodes(),
        "decodes_aborted": stats.decodes_aborted(),
    })
}
