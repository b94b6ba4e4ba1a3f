//! One provider's answer, with its four times and its limits.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Failure, FailureKind};
use crate::frames::{FrameFault, Frames};
use crate::http::{Http, clean};
use crate::keys::Key;
use crate::provider::{Decode, Fault, Stage, prepare};
use crate::request::{Event, Request};
use crate::settings::ProviderSettings;

/// How long numbers are waited for when the answer is whole.
const NUMBERS_TIME_MAX: Duration = Duration::from_secs(2);

/// The longest name of a model, in characters.
const MODEL_CHARS_MAX: usize = 200;

/// How long the end of a body is waited for, when nothing more in it counts.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// An answer that is coming. Dropping it closes the connection.
pub(crate) struct Attempt {
    settings: ProviderSettings,
    key: Option<Key>,
    /// None once nothing more is read from them.
    frames: Option<Frames>,
    decoder: Box<dyn Decode>,
    waiting: VecDeque<Event>,
    stage: Stage,
    begun: bool,
    /// Until when the next event has to be there.
    next_until: Instant,
    /// Until when all has to be there.
    until: Instant,
}

impl Attempt {
    /// Sends the request and waits until the answer begins.
    pub(crate) async fn begin(
        http: &Http,
        settings: &ProviderSettings,
        request: &Request,
        key: Option<Key>,
    ) -> Result<Self, Failure> {
        let now = Instant::now();
        let until = now + Duration::from_millis(settings.times.total_ms);
        let first = now + Duration::from_millis(settings.times.first_token_ms);
        let sending = http.send(settings, prepare(settings, request), key.as_ref());
        let response = match timeout_at(first.min(until), sending).await {
            Ok(response) => response?,
            Err(_) => return Err(slow(settings, FailureKind::SlowFirstToken)),
        };
        Ok(Self {
            frames: Some(Frames::new(
                response.bytes_stream(),
                settings.kind.framing(),
                settings.answer_bytes_max,
            )),
            decoder: settings.kind.decoder(request),
            settings: settings.clone(),
            key,
            waiting: VecDeque::new(),
            stage: Stage::Going,
            begun: false,
            next_until: first,
            until,
        })
    }

    /// The next event; none when the answer is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            if self.stage == Stage::Over {
                if let Some(frames) = self.frames.take() {
                    leave(frames);
                }
                return Ok(None);
            }
            let Some(frames) = &mut self.frames else {
                return Ok(None);
            };
            let read = timeout_at(self.next_until.min(self.until), frames.next()).await;
            let data = match read {
                Ok(Ok(Some(data))) => data,
                // A whole answer is one, however its connection ends.
                _ if self.stage == Stage::Whole => {
                    self.stage = Stage::Over;
                    continue;
                }
                Ok(Ok(None)) => {
                    return Err(self.failure(
                        FailureKind::Cut,
                        "the connection ended before the answer did",
                    ));
                }
                Ok(Err(fault)) => return Err(self.broken(&fault)),
                Err(_) => return Err(slow(&self.settings, self.late())),
            };
            self.take(&data)?;
        }
    }

    fn take(&mut self, data: &str) -> Result<(), Failure> {
        let mut events = Vec::new();
        let stage = self.decoder.frame(data, &mut events);
        let stage = stage.map_err(|fault| match fault {
            Fault::Malformed(why) => self.failure(FailureKind::Malformed, why),
            Fault::Reported(words) => {
                let words = clean(&words, self.key.as_ref());
                self.failure(FailureKind::Reported, &format!("it reports: {words}"))
            }
        })?;
        // Once whole, it does not go on.
        if self.stage == Stage::Going || stage == Stage::Over {
            self.stage = stage;
        }
        let now = Instant::now();
        let shown =
            |event: &Event| matches!(event, Event::Text(_) | Event::Thinking(_) | Event::Tool(_));
        if self.stage == Stage::Whole {
            self.next_until = now + NUMBERS_TIME_MAX;
        } else if self.begun || events.iter().any(shown) {
            self.begun = true;
            self.next_until = now + Duration::from_millis(self.settings.times.between_tokens_ms);
        }
        for event in &mut events {
            if let Event::Model(name) = event {
                let words = clean(name, self.key.as_ref());
                *name = words.chars().take(MODEL_CHARS_MAX).collect();
            }
        }
        self.waiting.extend(events);
        Ok(())
    }

    /// Reads nothing more, and closes the connection.
    pub(crate) fn stop(&mut self) {
        self.stage = Stage::Over;
        self.frames = None;
        self.waiting.clear();
    }

    /// Which of the times is over.
    fn late(&self) -> FailureKind {
        if Instant::now() >= self.until {
            FailureKind::SlowTotal
        } else if self.begun {
            FailureKind::Stalled
        } else {
            FailureKind::SlowFirstToken
        }
    }

    fn failure(&self, kind: FailureKind, why: &str) -> Failure {
        Failure::new(&self.settings.name, kind, why)
    }

    fn broken(&self, fault: &FrameFault) -> Failure {
        match fault {
            FrameFault::Cut(_) => self.failure(FailureKind::Cut, "the connection was cut"),
            FrameFault::TooLarge(_) => self.failure(FailureKind::TooLarge, &fault.to_string()),
            FrameFault::NotUtf8 => self.failure(FailureKind::Malformed, &fault.to_string()),
        }
    }
}

/// Reads the end of a body that is over, so that its connection can be used again.
fn leave(mut frames: Frames) {
    tokio::spawn(timeout(END_TIME_MAX, async move {
        while let Ok(Some(_)) = frames.next().await {}
    }));
}

fn slow(settings: &ProviderSettings, kind: FailureKind) -> Failure {
    let times = &settings.times;
    let why = match kind {
        FailureKind::SlowTotal => {
            format!("the answer took longer than total_ms = {}", times.total_ms)
        }
        FailureKind::Stalled => {
            format!(
                "nothing came for between_tokens_ms = {}",
                times.between_tokens_ms
            )
        }
        _ => format!(
            "no token came within first_token_ms = {}",
            times.first_token_ms
        ),
    };
    Failure::new(&settings.name, kind, why)
}
