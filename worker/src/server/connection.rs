//! One connection: lines in, requests side by side, lines out.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fazai_protocol::{
    ActionId, ErrorCode, Frame, Limits, Line, LineFramer, Operation, ParseFailure, Request,
    WireError, parse_request,
};
use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Peer, Stream};
use crate::Worker;
use crate::episodes::Deeds;
use crate::lock::lock;
use crate::ops::{self, Context, failed};
use crate::outgoing::{self, Outgoing};

/// How often a client that closed its writing side is looked for while it waits.
const LEFT_CHECK: Duration = Duration::from_millis(20);

/// Room for what one read may bring.
const READ_BYTES: usize = 4 << 10;

/// Requests that are unanswered may hold this much of what was sent, in the longest lines; more is
/// read when some of them are answered.
const LINES_HELD_MAX: usize = 2;

/// Lines below this are read whatever is held, so that something long can be cancelled.
const SHORT_LINE_BYTES: usize = 4 << 10;

/// Serves a connection until the client has all its answers, or has left.
pub(crate) async fn serve<S: Stream>(worker: Worker, stream: S, peer: Peer) {
    let (mut reading, writing) = stream.halves();
    let settings = worker.settings();
    let stall = Duration::from_millis(settings.limits.write_stall_ms_max);
    let gone = worker.shared.abandoned.child_token();
    let (outgoing, lines) = outgoing::queue();
    let writer = tokio::spawn(outgoing::write_lines(writing, lines, stall, gone.clone()));
    let mut connection = Connection {
        worker,
        authorized: !peer.needs_token,
        peer,
        outgoing,
        gone: gone.clone(),
        in_flight: InFlight::default(),
        held: Arc::new(Semaphore::new(held_max(&settings.limits))),
        requests: TaskTracker::new(),
    };
    connection.read_lines(&mut reading, &settings.limits).await;
    connection.requests.close();
    connection.wait_for_answers(|| S::left(&reading)).await;
    // The last sender: the writer ends when it has written what is there.
    drop(connection);
    let _ = writer.await;
}

/// Tells a client why it can't come in.
pub(super) async fn refuse<S: Stream>(stream: S, error: WireError) {
    let (mut reading, writing) = stream.halves();
    let (outgoing, lines) = outgoing::queue();
    let done = failed(ActionId::default(), error);
    outgoing.send(Line::Done(Box::new(done))).await;
    drop(outgoing);
    let gone = CancellationToken::new();
    outgoing::write_lines(writing, lines, Duration::from_secs(1), gone).await;
    // What is closed with something unread is reset, and the line may be lost.
    let rest = async {
        let mut bytes = [0; 1024];
        while matches!(reading.read(&mut bytes).await, Ok(1..)) {}
    };
    let _ = tokio::time::timeout(REFUSED_TIME, rest).await;
}

/// How long a client that can't come in has to read why.
const REFUSED_TIME: Duration = Duration::from_millis(250);

struct Connection {
    worker: Worker,
    peer: Peer,
    authorized: bool,
    outgoing: Outgoing,
    /// The client has left.
    gone: CancellationToken,
    in_flight: InFlight,
    /// Bytes of requests that may be begun still.
    held: Arc<Semaphore>,
    requests: TaskTracker,
}

fn held_max(limits: &Limits) -> usize {
    let most = limits.line_bytes_max.saturating_mul(LINES_HELD_MAX);
    most.min(Semaphore::MAX_PERMITS)
}

/// The unanswered requests of one connection.
#[derive(Debug, Clone, Default)]
struct InFlight(Arc<Mutex<InFlightState>>);

#[derive(Debug, Default)]
struct InFlightState {
    count: usize,
    ids: HashSet<ActionId>,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, InFlightState> {
        lock(&self.0)
    }

    fn enter(&self, id: &ActionId, most: usize) -> Result<(), WireError> {
        let mut state = self.lock();
        if state.ids.contains(id) {
            let message = format!("action_id {id} has not been answered yet");
            return Err(WireError::new(ErrorCode::DuplicateId, message)
                .with_hint("give each request of a connection an id of its own"));
        }
        if state.count >= most {
            let message = format!("{most} requests of this connection are unanswered");
            return Err(
                WireError::new(ErrorCode::TooManyRequests, message).with_retry_after_ms(100)
            );
        }
        state.count += 1;
        if !id.is_empty() {
            state.ids.insert(id.clone());
        }
        Ok(())
    }

    fn leave(&self, id: &ActionId) {
        let mut state = self.lock();
        state.count -= 1;
        state.ids.remove(id);
    }

    fn is_empty(&self) -> bool {
        self.lock().count == 0
    }
}

impl Connection {
    async fn read_lines(&mut self, reading: &mut (impl AsyncReadExt + Unpin), limits: &Limits) {
        let mut framer = LineFramer::new(limits.line_bytes_max);
        let mut bytes = Vec::with_capacity(READ_BYTES);
        loop {
            bytes.clear();
            let read = tokio::select! {
                () = self.gone.cancelled() => return,
                () = self.worker.shared.killed.cancelled() => return,
                () = self.drained() => return,
                read = reading.read_buf(&mut bytes) => read,
            };
            match read {
                Ok(0) => break,
                Ok(_) => framer.push(&bytes),
                // Reset by the peer.
                Err(_) => return self.gone.cancel(),
            }
            while let Some(frame) = framer.next_frame() {
                self.take(frame, limits).await;
            }
        }
        if let Some(frame) = framer.finish() {
            self.take(frame, limits).await;
        }
    }

    /// The worker is stopping and this connection waits for nothing.
    async fn drained(&self) {
        self.worker.shared.draining.cancelled().await;
        while !self.in_flight.is_empty() {
            tokio::time::sleep(LEFT_CHECK).await;
        }
    }

    async fn take(&mut self, frame: Frame, limits: &Limits) {
        let received = Instant::now();
        let (parsed, bytes) = match frame {
            Frame::Line(line) => {
                let parsed = parse_request(&line, limits.action_id_bytes_max);
                (parsed, line.len())
            }
            Frame::TooLong { head } => (Err(too_long(&head, limits)), 0),
        };
        match parsed {
            Ok(request) => {
                if let Some(held) = self.hold(bytes, limits).await {
                    self.begin(request, held, received, limits).await;
                }
            }
            Err(failure) => self.refuse(failure.action_id, failure.error).await,
        }
    }

    /// Waits until the unanswered requests leave room for another; none: there is no need any more.
    async fn hold(&self, bytes: usize, limits: &Limits) -> Option<OwnedSemaphorePermit> {
        let bytes = match bytes < SHORT_LINE_BYTES {
            true => 0,
            false => u32::try_from(bytes.min(held_max(limits))).unwrap_or(u32::MAX),
        };
        tokio::select! {
            held = Arc::clone(&self.held).acquire_many_owned(bytes) => held.ok(),
            () = self.gone.cancelled() => None,
            () = self.worker.shared.killed.cancelled() => None,
        }
    }

    async fn refuse(&self, id: ActionId, error: WireError) {
        let done = failed(id, error);
        self.outgoing.send(Line::Done(Box::new(done))).await;
    }

    async fn begin(
        &mut self,
        request: Request,
        held: OwnedSemaphorePermit,
        received: Instant,
        limits: &Limits,
    ) {
        let Request {
            action_id,
            operation,
        } = request;
        if let Err(error) = self.check(&operation) {
            return self.refuse(action_id, error).await;
        }
        if let Err(error) = self.in_flight.enter(&action_id, limits.in_flight_max) {
            return self.refuse(action_id, error).await;
        }
        self.worker.count_request();
        let stopped = self.gone.child_token();
        let deeds = if self.peer.recorded && self.worker.shared.episodes.is_on() {
            Deeds::wanted()
        } else {
            Deeds::default()
        };
        let context = Context {
            worker: self.worker.clone(),
            user: self.peer.user,
            outgoing: self.outgoing.clone(),
            received,
            stopped: stopped.clone(),
            action_id,
            deeds,
            room: Arc::default(),
        };
        let in_flight = self.in_flight.clone();
        self.requests.spawn(async move {
            let id = &context.action_id;
            let live = context.worker.shared.live.enter(context.user, id, stopped);
            let answer = AssertUnwindSafe(ops::answer(&context, operation)).catch_unwind();
            let done = answer.await.unwrap_or_else(|_| context.fail(panicked()));
            drop(live);
            let room = lock(&context.room).take();
            let ready = context.outgoing.ready(Line::Done(Box::new(done)), room);
            let ready = ready.await;
            // Until it can be sent it is unanswered, so that a client that reads nothing has no
            // more of them; as soon as it has read it, it may use the id again.
            in_flight.leave(id);
            drop(held);
            if let Some(ready) = ready {
                ready.send();
            }
        });
    }

    /// What is refused before anything is begun.
    fn check(&mut self, operation: &Operation) -> Result<(), WireError> {
        if self.worker.shared.draining.is_cancelled() {
            return Err(WireError::new(
                ErrorCode::ShuttingDown,
                "the worker is stopping",
            ));
        }
        if let Operation::Hello(hello) = operation
            && !self.authorized
        {
            let settings = self.worker.settings();
            let wanted = settings.server.tcp_token.as_ref();
            self.authorized = ops::hello::token_matches(wanted, hello.params.token.as_ref());
        }
        if self.authorized {
            return Ok(());
        }
        Err(WireError::new(ErrorCode::Unauthorized, "the token is missing or wrong").with_hint(
            "begin with {\"action\":\"hello\",\"action_id\":\"0\",\"params\":{\"token\":\"...\"}}",
        ))
    }

    /// Waits for the answers that are still due. A client that leaves meanwhile ends them.
    async fn wait_for_answers(&self, left: impl Fn() -> bool) {
        loop {
            if left() {
                self.gone.cancel();
            }
            tokio::select! {
                () = self.requests.wait() => return,
                () = tokio::time::sleep(LEFT_CHECK), if !self.gone.is_cancelled() => {}
            }
        }
    }
}

fn too_long(head: &[u8], limits: &Limits) -> ParseFailure {
    // What was read of it is no JSON, but may tell the id.
    let unread = parse_request(head, limits.action_id_bytes_max);
    let most = limits.line_bytes_max;
    ParseFailure {
        action_id: unread
            .err()
            .map(|failure| failure.action_id)
            .unwrap_or_default(),
        error: WireError::new(
            ErrorCode::LineTooLong,
            format!("a line may have {most} bytes"),
        )
        .with_hint("raise line_bytes_max in the settings, or send less"),
    }
}

fn panicked() -> WireError {
    WireError::new(
        ErrorCode::Internal,
        "the operation panicked; the log has the details",
    )
}
