//! Where every failure of the libraries becomes a code, a message and a hint.

use fazai_models::chat::TemplateError;
use fazai_models::engine::SubmitError;
use fazai_models::gguf::GgufError;
use fazai_models::job::JobError;
use fazai_models::load::LoadError;
use fazai_models::store::StoreError;
use fazai_protocol::{ErrorCode, WireError};

use crate::quota::QuotaExceeded;
use crate::sessions::SessionError;

pub(crate) fn from_store(fault: &StoreError) -> WireError {
    let code = match fault {
        StoreError::BadName(_) => ErrorCode::InvalidRequest,
        StoreError::NotFound { .. } | StoreError::NoFile(_) => ErrorCode::ModelNotFound,
        StoreError::Broken { .. } => ErrorCode::ModelUnreadable,
        StoreError::Builtin => ErrorCode::NotSupported,
        StoreError::Busy { .. } | StoreError::Directory { .. } | StoreError::NoHome => {
            ErrorCode::Internal
        }
    };
    WireError::new(code, fault.to_string())
}

pub(crate) fn from_load(fault: &LoadError) -> WireError {
    let message = fault.to_string();
    match fault {
        LoadError::TooLarge { .. } => WireError::new(ErrorCode::ModelTooLarge, message)
            .with_hint("use a smaller or more quantized model, a smaller context, or free memory"),
        LoadError::File {
            fault: GgufError::Io(_),
            ..
        } => WireError::new(ErrorCode::ModelNotFound, message)
            .with_hint("see `fazai models list` for what is there"),
        LoadError::File { .. } => WireError::new(ErrorCode::ModelUnreadable, message)
            .with_hint("download it again with `fazai models pull`"),
        LoadError::Builtin(_) | LoadError::Template(_) | LoadError::Backend(_) => {
            WireError::new(ErrorCode::ModelUnreadable, message)
        }
        LoadError::NotBuilt(_) => WireError::new(ErrorCode::NotSupported, message)
            .with_hint("build with the feature of that name, or choose another backend"),
        LoadError::Cancelled => WireError::new(ErrorCode::Internal, message),
    }
}

pub(crate) fn from_submit(fault: &SubmitError) -> WireError {
    let message = fault.to_string();
    match fault {
        SubmitError::Overloaded { retry_after_ms, .. } => {
            WireError::new(ErrorCode::Overloaded, message).with_retry_after_ms(*retry_after_ms)
        }
        SubmitError::Grammar(_) => WireError::new(ErrorCode::InvalidGrammar, message),
        SubmitError::EngineGone => engine_gone(),
    }
}

pub(crate) fn from_quota(fault: &QuotaExceeded) -> WireError {
    let error = WireError::new(ErrorCode::QuotaExceeded, fault.to_string());
    match fault.retry_after {
        Some(wait) => {
            error.with_retry_after_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
        }
        None => error.with_hint("wait until one of them is done"),
    }
}

pub(crate) fn from_job(fault: &JobError) -> WireError {
    match fault {
        JobError::Grammar(_) => WireError::new(ErrorCode::InvalidGrammar, fault.to_string())
            .with_hint("make the grammar simpler: fewer alternatives, shorter repetitions"),
        JobError::WouldMissDeadline { retry_after_ms, .. } => {
            let error = WireError::new(ErrorCode::WouldMissDeadline, fault.to_string());
            match retry_after_ms {
                Some(retry_after_ms) => error.with_retry_after_ms(*retry_after_ms),
                None => {
                    error.with_hint("the prompt alone takes longer: shorten it, or wait longer")
                }
            }
        }
        JobError::Backend(_) => WireError::new(ErrorCode::EngineFailed, fault.to_string()),
        JobError::Unsupported(_) => WireError::new(ErrorCode::NotSupported, fault.to_string()),
        JobError::EngineGone => engine_gone(),
    }
}

fn engine_gone() -> WireError {
    WireError::new(ErrorCode::EngineFailed, "the model's engine stopped")
        .with_hint("the next request starts it again")
        .with_retry_after_ms(1_000)
}

pub(crate) fn from_template(fault: &TemplateError) -> WireError {
    match fault {
        TemplateError::Refused(_) => WireError::new(ErrorCode::InvalidRequest, fault.to_string())
            .with_hint("most templates want user and assistant to alternate, the user being last"),
        TemplateError::Broken(_) => WireError::new(ErrorCode::ModelUnreadable, fault.to_string())
            .with_hint("`raw: true` sends text without the template"),
    }
}

pub(crate) fn from_session(fault: &SessionError) -> WireError {
    let message = fault.to_string();
    match fault {
        SessionError::Busy(_) => {
            WireError::new(ErrorCode::SessionBusy, message).with_retry_after_ms(500)
        }
        SessionError::TooMany(_) => WireError::new(ErrorCode::SessionLimit, message)
            .with_hint("they are forgotten when they are idle; or raise sessions_max"),
        SessionError::TooLong { .. } => {
            WireError::new(ErrorCode::SessionLimit, message).with_hint("begin another session")
        }
    }
}
