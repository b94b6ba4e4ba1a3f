//! Where every failure of the libraries becomes a code, a message and a hint.

use std::io;
use std::time::Duration;

use fazai_cloud::{BudgetError, CloudError, FailureKind};
use fazai_memory::MemoryError;
use fazai_models::chat::TemplateError;
use fazai_models::engine::SubmitError;
use fazai_models::gguf::GgufError;
use fazai_models::job::JobError;
use fazai_models::load::LoadError;
use fazai_models::store::StoreError;
use fazai_modhost::Failure;
use fazai_protocol::{ErrorCode, WireError};
use fazai_toolbox::ToolError;
use fazai_tools::{ApprovalError, GateError, RunError, Why};
use fazai_watch::enforce::EnforceError;

use crate::acting::ActingFault;
use crate::cloud::CloudFault;
use crate::episodes::EpisodeFault;
use crate::memory::MemoryFault;
use crate::modules::{BadCall, ModuleFault};
use crate::places::Full;
use crate::quota::QuotaExceeded;
use crate::runs::JournalFault;
use crate::sessions::SessionError;
use crate::watching::WatchFault;

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

pub(crate) fn from_module(fault: &ModuleFault) -> WireError {
    let (code, hint) = match fault {
        ModuleFault::NotFound { .. } => (
            ErrorCode::ModuleNotFound,
            Some("`fazai modules list` shows what is there"),
        ),
        ModuleFault::NotCaller { .. } => (
            ErrorCode::Forbidden,
            Some("an administrator can add the user to `users` of the module in modules.toml"),
        ),
        ModuleFault::Unloaded(_) => (
            ErrorCode::ModuleUnavailable,
            Some("`fazai modules load NAME` loads it"),
        ),
        ModuleFault::Stopping => (ErrorCode::ShuttingDown, None),
        ModuleFault::NotPrepared => return not_prepared(),
        ModuleFault::Manifest(_)
        | ModuleFault::Keys(_)
        | ModuleFault::Refused(_)
        | ModuleFault::Schema { .. } => (ErrorCode::ModuleRefused, None),
        ModuleFault::BadCall(fault) => return from_bad_call(fault),
        ModuleFault::Acting(fault) => return from_acting(fault),
        ModuleFault::Failed(failure) => return from_failure(failure),
    };
    let error = WireError::new(code, fault.to_string());
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// A hint that quotes the request need not be as long as that.
const HINT_CHARS_MAX: usize = 400;

fn from_bad_call(fault: &BadCall) -> WireError {
    let message = fault.to_string();
    match fault {
        BadCall::NoModule | BadCall::NoCommand(_) => {
            WireError::new(ErrorCode::InvalidRequest, message)
                .with_hint("input is \"MODULE COMMAND ...\", such as \"echo hello\"")
        }
        BadCall::Twice(_) | BadCall::BadName | BadCall::TooLong(_) => {
            WireError::new(ErrorCode::InvalidParams, message)
        }
        BadCall::NotText(_) => WireError::new(ErrorCode::InvalidParams, message)
            .with_hint("`fazai modules show NAME` has the commands that take JSON"),
        BadCall::NotJson { fault, .. } | BadCall::Unfit { fault, .. } => {
            let fault: String = fault.chars().take(HINT_CHARS_MAX).collect();
            WireError::new(ErrorCode::InvalidParams, message)
                .with_hint(format!("{fault}; `fazai modules show NAME` has the schema"))
        }
    }
}

fn from_failure(failure: &Failure) -> WireError {
    let message = failure.to_string();
    match failure {
        Failure::Crashed { .. }
        | Failure::Exited { .. }
        | Failure::TimedOut { .. }
        | Failure::Protocol { .. }
        | Failure::Spawn { .. } => WireError::new(ErrorCode::ModuleFailed, message),
        Failure::NotLoaded { .. } | Failure::NotTrusted { .. } => {
            WireError::new(ErrorCode::ModuleRefused, message)
        }
        Failure::Busy { .. } => {
            WireError::new(ErrorCode::ModuleUnavailable, message).with_retry_after_ms(500)
        }
        Failure::Restarting { wait, .. } => {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            WireError::new(ErrorCode::ModuleUnavailable, message).with_retry_after_ms(wait_ms)
        }
        Failure::Quarantined { .. } | Failure::Unloaded { .. } => {
            WireError::new(ErrorCode::ModuleUnavailable, message)
                .with_hint("`fazai modules load NAME` starts it again")
        }
        Failure::Stopped { .. } => WireError::new(ErrorCode::Cancelled, message),
        Failure::CommandTooLong { .. } | Failure::CommandHasNul { .. } => {
            WireError::new(ErrorCode::InvalidRequest, message)
        }
    }
}

pub(crate) fn from_acting(fault: &ActingFault) -> WireError {
    let message = fault.to_string();
    match fault {
        ActingFault::Policy(_) => WireError::new(ErrorCode::Denied, message).with_hint(
            "until the policy can be read nothing is done; `fazai policy show` tries it",
        ),
        ActingFault::Audit(_) | ActingFault::Gate(GateError::Audit(_)) => {
            WireError::new(ErrorCode::AuditUnavailable, message)
        }
        ActingFault::Gate(GateError::Denied(decision)) => {
            let hint = if decision.rule.starts_with("blocked/") {
                "no profile opens this; `fazai policy explain` shows how it was understood"
            } else {
                "[policy] `file` or `profile` in the settings decides; see `fazai policy explain`"
            };
            WireError::new(ErrorCode::Denied, message).with_hint(hint)
        }
        ActingFault::Gate(GateError::Changed(_)) => WireError::new(ErrorCode::Denied, message),
        ActingFault::Gate(GateError::NotApproved(fault)) => from_approval(fault),
    }
}

pub(crate) fn from_approval(fault: &ApprovalError) -> WireError {
    let code = match fault {
        ApprovalError::UnknownId(_)
        | ApprovalError::AnsweredAlready(_)
        | ApprovalError::AnsweredTooLate(_)
        | ApprovalError::AskerLeft(_) => ErrorCode::ApprovalNotFound,
        ApprovalError::NotAsked { .. } => ErrorCode::Forbidden,
        ApprovalError::TooLate(_) | ApprovalError::NobodyToAsk | ApprovalError::Denied { .. } => {
            ErrorCode::Denied
        }
        ApprovalError::TooMany | ApprovalError::TooManyOfYours | ApprovalError::TooOften => {
            ErrorCode::Overloaded
        }
        ApprovalError::ReasonTooLong { .. } => ErrorCode::InvalidParams,
    };
    WireError::new(code, fault.to_string())
}

/// In a program that embeds the worker.
pub(crate) fn not_prepared() -> WireError {
    let message = "this program can't run modules and commands";
    WireError::new(ErrorCode::NotSupported, message)
        .with_hint("call fazai::child_process() first in its main, or set modules.program")
}

pub(crate) fn from_run(fault: &RunError) -> WireError {
    let code = match fault {
        RunError::WrongAction { .. } => ErrorCode::Internal,
        RunError::NotRecorded { .. } | RunError::EndNotRecorded { .. } => {
            ErrorCode::AuditUnavailable
        }
        RunError::Spawn(_) => ErrorCode::Overloaded,
        RunError::Changed(_) => ErrorCode::Denied,
        RunError::Malformed { .. }
        | RunError::Directory { .. }
        | RunError::NotFound { .. }
        | RunError::NotExecutable { .. }
        | RunError::TooLong { .. }
        | RunError::NotConfined { .. }
        | RunError::Lost => ErrorCode::CommandFailed,
    };
    WireError::new(code, fault.to_string())
}

pub(crate) fn from_cloud_fault(fault: &CloudFault) -> WireError {
    match fault {
        CloudFault::Cloud(fault) => from_cloud(fault),
        CloudFault::Settings(why) => WireError::new(ErrorCode::CloudUnavailable, why)
            .with_hint("`fazai config` checks the settings"),
    }
}

pub(crate) fn from_cloud(fault: &CloudError) -> WireError {
    let message = fault.to_string();
    let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    match fault {
        CloudError::Settings(_) | CloudError::Io { .. } | CloudError::NoProvider => {
            WireError::new(ErrorCode::CloudUnavailable, message)
        }
        CloudError::Budget(BudgetError::Refused(refusal)) => {
            let error = WireError::new(ErrorCode::BudgetExceeded, message);
            let now = jiff::Timestamp::now();
            let wait = refusal
                .reset_at
                .map(|at| at.duration_since(now).unsigned_abs());
            match wait {
                Some(wait) => error.with_retry_after_ms(millis(wait)),
                None => error.with_hint("ask for fewer tokens with max_tokens, or for less"),
            }
        }
        CloudError::Budget(_) => WireError::new(ErrorCode::CloudUnavailable, message),
        CloudError::Failed(failures) => {
            let denied = failures
                .iter()
                .all(|failure| failure.kind == FailureKind::Denied);
            if denied {
                return WireError::new(ErrorCode::Denied, message)
                    .with_hint("a rule for send_to_cloud in policy.toml can allow it");
            }
            let error = WireError::new(ErrorCode::UpstreamFailed, message);
            let waits = failures.iter().filter_map(|failure| failure.retry_after);
            match waits.min() {
                Some(wait) => error.with_retry_after_ms(millis(wait)),
                None => error,
            }
        }
    }
}

pub(crate) fn from_memory(fault: &MemoryFault) -> WireError {
    let message = fault.to_string();
    let MemoryFault::Memory(fault) = fault else {
        return WireError::new(ErrorCode::NotSupported, message).with_hint(
            "change it in the settings, which `fazai config` checks, and start the worker anew",
        );
    };
    match fault {
        MemoryError::Invalid { .. }
        | MemoryError::K { .. }
        | MemoryError::Ingest { .. }
        | MemoryError::Import { .. }
        | MemoryError::PersonalityFile { .. } => WireError::new(ErrorCode::InvalidParams, message),
        MemoryError::NotFound(_) | MemoryError::NoPersonality(_) => {
            WireError::new(ErrorCode::MemoryNotFound, message)
        }
        MemoryError::Unavailable { retry_after_ms, .. } => {
            WireError::new(ErrorCode::MemoryUnavailable, message)
                .with_retry_after_ms(*retry_after_ms)
        }
        _ => WireError::new(ErrorCode::MemoryUnavailable, message),
    }
}

pub(crate) fn from_episodes(fault: &EpisodeFault) -> WireError {
    match fault {
        EpisodeFault::Memory(fault) => from_memory(fault),
        EpisodeFault::Acting(fault) => from_acting(fault),
    }
}

pub(crate) fn from_watch(fault: &WatchFault) -> WireError {
    let message = fault.to_string();
    match fault {
        WatchFault::Table(_) | WatchFault::State { .. } => {
            WireError::new(ErrorCode::WatchUnavailable, message)
                .with_hint("`fazai config` checks the settings; see [watch]")
        }
        WatchFault::Enforce(fault) => from_enforce(fault),
        WatchFault::Audit(_) => WireError::new(ErrorCode::AuditUnavailable, message),
        WatchFault::NotFound(_) => WireError::new(ErrorCode::IncidentNotFound, message)
            .with_hint("`fazai incidents list --all` shows those that are kept"),
        WatchFault::Full => WireError::new(ErrorCode::Overloaded, message).with_retry_after_ms(200),
        WatchFault::Stopping => WireError::new(ErrorCode::ShuttingDown, message),
    }
}

fn from_enforce(fault: &EnforceError) -> WireError {
    let message = fault.to_string();
    match fault {
        EnforceError::Allowed { .. } | EnforceError::NoTarget => {
            WireError::new(ErrorCode::Denied, message)
        }
        EnforceError::PerMinute(_) => {
            WireError::new(ErrorCode::Overloaded, message).with_retry_after_ms(60_000)
        }
        EnforceError::Total(_) => WireError::new(ErrorCode::Overloaded, message),
        EnforceError::NoBlock(_) => WireError::new(ErrorCode::IncidentNotFound, message),
        EnforceError::Ledger(_) | EnforceError::Firewall(_) => {
            WireError::new(ErrorCode::WatchUnavailable, message)
        }
    }
}

pub(crate) fn from_journal(fault: &JournalFault) -> WireError {
    let message = fault.to_string();
    match fault {
        JournalFault::NotFound(_) => WireError::new(ErrorCode::RunNotFound, message)
            .with_hint("`fazai runs list` shows those that are kept"),
        JournalFault::Damaged(_) => WireError::new(ErrorCode::RunNotFound, message),
        JournalFault::Busy => WireError::new(ErrorCode::InvalidRequest, message),
        JournalFault::Write { .. } => WireError::new(ErrorCode::AuditUnavailable, message),
    }
}

/// Words of a tool that a message has room for, in characters.
const WORDS_CHARS_MAX: usize = 2_000;

pub(crate) fn from_tool(name: &str, fault: &ToolError) -> WireError {
    let message = match fault {
        ToolError::NotFound(_) | ToolError::Broken { .. } | ToolError::Run(_) => fault.to_string(),
        fault => format!("`{name}`: {fault}"),
    };
    let message: String = message.chars().take(WORDS_CHARS_MAX).collect();
    match fault {
        ToolError::NotFound(_) => WireError::new(ErrorCode::ToolNotFound, message)
            .with_hint("`fazai tools list` shows what is there"),
        ToolError::Broken { .. } => WireError::new(ErrorCode::ToolBroken, message),
        ToolError::BadParams(_) => WireError::new(ErrorCode::InvalidParams, message)
            .with_hint("`fazai tools show NAME` has its parameters"),
        ToolError::Refused(_) => WireError::new(ErrorCode::Denied, message),
        ToolError::Failed(_) => WireError::new(ErrorCode::ToolFailed, message),
        ToolError::Unavailable(_) => WireError::new(ErrorCode::ToolUnavailable, message),
        ToolError::TimedOut => WireError::new(ErrorCode::DeadlineExceeded, message),
        ToolError::Stopped => WireError::new(ErrorCode::Cancelled, message),
        ToolError::Run(fault) => from_run(fault),
    }
}

/// Why a command is over, if that is a failure of it.
pub(crate) fn from_why(why: Why) -> Option<WireError> {
    match why {
        Why::Finished | Why::Stopped => None,
        Why::TimedOut => Some(
            WireError::new(
                ErrorCode::DeadlineExceeded,
                "the command took too long and was ended",
            )
            .with_hint("give it more with params.timeout_ms, up to command_timeout_ms"),
        ),
        Why::MemoryLimit => Some(
            WireError::new(
                ErrorCode::CommandFailed,
                "the command took too much memory and was ended",
            )
            .with_hint("command_memory_bytes_max in the settings is the limit"),
        ),
        Why::OutputLimit => Some(
            WireError::new(
                ErrorCode::CommandFailed,
                "the command wrote too much and was ended",
            )
            .with_hint("let it write less, or to a file"),
        ),
    }
}

/// All places for commands are taken, or all that one user may have.
pub(crate) fn commands_busy() -> WireError {
    let message = "as many commands are running as commands_max allows";
    WireError::new(ErrorCode::Overloaded, message).with_retry_after_ms(500)
}

/// All places for tools are taken, or all that one user may have.
pub(crate) fn tools_busy() -> WireError {
    let message = "as many tools are at work as calls_max allows";
    WireError::new(ErrorCode::Overloaded, message).with_retry_after_ms(500)
}

/// All places for calls are taken, or all that one module may have.
pub(crate) fn modules_busy(full: Full, module: &str) -> WireError {
    let error = match full {
        Full::All => WireError::new(
            ErrorCode::Overloaded,
            "as many modules are at work as calls_max allows",
        ),
        Full::Own => WireError::new(
            ErrorCode::ModuleUnavailable,
            format!("module `{module}` has as many calls as one module may have"),
        ),
    };
    error.with_retry_after_ms(100)
}

pub(crate) fn deadline_passed(deadline: Option<Duration>) -> WireError {
    let deadline = deadline.unwrap_or_default();
    let message = format!("there was no answer within {} ms", deadline.as_millis());
    WireError::new(ErrorCode::DeadlineExceeded, message)
}

pub(crate) fn out_of_descriptors(fault: &io::Error) -> WireError {
    WireError::new(
        ErrorCode::Overloaded,
        format!("no call can be begun: {fault}"),
    )
    .with_hint("raise the service's limit of open files (LimitNOFILE)")
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
