//! A module inside the host's own process, which only a signature and the administrator together
//! allow. Nothing confines it, no limit of time or memory holds, and a crash in it is the host's.

use std::any::Any;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fazai_sandbox::{Layer, Report, State};

use super::call::Work;
use super::stream::Stream;
use super::{Answer, Failure, Job, Limits};
use crate::abi::Loaded;
use crate::message::{Descriptor, INLINE_BYTES_MAX};
use crate::result::{self, Room};
use crate::text::text;
use crate::verify::Checked;

/// A module whose functions are called directly. Its code stays in the process for ever.
#[derive(Debug)]
pub(super) struct InProcess {
    module: String,
    loaded: Loaded,
}

impl InProcess {
    /// Loads a module into this process.
    pub(super) fn start(checked: &Checked) -> Result<(Self, Option<Descriptor>, Report), Failure> {
        let entry = &checked.entry;
        let module = entry.name.clone();
        if !(checked.signed && entry.trusted) {
            return Err(Failure::NotTrusted { module });
        }
        let load = || {
            let image = checked.image.keep().map_err(|error| error.to_string())?;
            let mut loaded = Loaded::open(image)?;
            // Before its init, which would have to be undone.
            let descriptor = loaded
                .take_descriptor()
                .map(|raw| raw.check(&entry.name, &entry.capabilities))
                .transpose()?;
            loaded.init()?;
            Ok((loaded, descriptor))
        };
        match load() {
            Ok((loaded, descriptor)) => Ok((Self { module, loaded }, descriptor, report())),
            Err(why) => Err(Failure::NotLoaded { module, why }),
        }
    }

    pub(super) fn side_by_side(&self) -> bool {
        self.loaded.side_by_side()
    }

    /// Does what the turn is for. The limit of the turn has done its work: a call that runs in
    /// this process can't be ended.
    pub(super) fn perform(
        &self,
        job: &mut Job<'_>,
        limits: &Limits,
        turn: &Work<'_>,
    ) -> Result<Answer, Failure> {
        let answer = match job {
            Job::Exec(command, reader) => self.exec(command, limits, turn, reader),
            Job::Health => self.health(),
        };
        if turn.stopped() {
            return Err(Failure::Stopped {
                module: self.module.clone(),
            });
        }
        Ok(answer)
    }

    pub(super) fn cleanup(&self) {
        self.loaded.cleanup();
    }

    fn exec(
        &self,
        command: &str,
        limits: &Limits,
        turn: &Work<'_>,
        reader: &mut dyn FnMut(String) -> ControlFlow<()>,
    ) -> Answer {
        // A command with a NUL was refused, so that nothing is lost here.
        let command = CString::new(command).unwrap_or_default();
        let mut stream = Stream::new(limits.stream_bytes_max, reader);
        if self.loaded.streams() {
            let code = self.stream(&command, turn, &mut stream);
            return stream.finish(code, Vec::new());
        }
        let mut heap = Heap::new(limits.result_bytes_max);
        let code = result::exec(&self.loaded, &command, &mut heap);
        stream.finish(code, heap.into_bytes())
    }

    fn stream(&self, command: &CString, turn: &Work<'_>, stream: &mut Stream<'_>) -> i32 {
        let mut over = false;
        let mut panic: Option<Box<dyn Any + Send>> = None;
        let code = self.loaded.exec_stream(command, |piece| {
            for piece in piece.chunks(INLINE_BYTES_MAX) {
                if over {
                    break;
                }
                // A panic of the reader must not pass through the module's own code.
                let pushed = catch_unwind(AssertUnwindSafe(|| stream.push(piece.to_vec())));
                over = pushed.map_or_else(
                    |what| {
                        panic = Some(what);
                        true
                    },
                    |flow| flow.is_break() || turn.stopped(),
                );
            }
            over
        });
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        code.unwrap_or(-1)
    }

    fn health(&self) -> Answer {
        let mut heap = Heap::new(result::RESULT_BYTES_MIN);
        let code = result::health(&self.loaded, &mut heap);
        Answer {
            code,
            text: text(heap.into_bytes()),
            cut: false,
        }
    }
}

/// Memory for the result of one call.
struct Heap {
    bytes: Vec<u8>,
    size_max: usize,
}

impl Heap {
    fn new(size_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            size_max,
        }
    }

    /// The bytes of the text, and a short one in no more memory than it takes.
    fn into_bytes(mut self) -> Vec<u8> {
        let length = self.text().len();
        if length <= result::RESULT_BYTES_MIN {
            return self.bytes[..length].to_vec();
        }
        self.bytes.truncate(length);
        self.bytes
    }
}

impl Room for Heap {
    fn size_max(&self) -> usize {
        self.size_max
    }

    fn clear(&mut self, size: usize) -> &mut [u8] {
        self.bytes = vec![0; size];
        &mut self.bytes
    }

    fn written(&self) -> &[u8] {
        &self.bytes
    }
}

fn report() -> Report {
    let why = "the module runs inside this process with all its rights: a crash there ends this \
               process, and no limit of time or memory holds";
    Report {
        layers: vec![Layer {
            name: "process".into(),
            state: State::Off(why.into()),
        }],
    }
}
