//! A deterministic model for tests: bytes for tokens, answers from a function, delays and
//! faults on demand. What it says next depends on the sequence's tokens alone, as in a real
//! model, so an engine that mixes sequences up or loses one is found out.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{AbortSignal, Backend, Capacity, DecodeError, Run, SeqId};
use crate::chat::ChatTemplate;
use crate::load::{BackendKind, Loaded, ModelInfo};
use crate::memory::{KvType, Needs};
use crate::tune::BatchSizes;
use crate::vocabulary::{Encode, Token, TokenKind, TokenTable, Vocabulary};

/// The names of the tokens behind the 256 bytes.
const SPECIAL: [&str; 5] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<think>",
    "</think>",
];
const END: Token = 257;

/// Ends the prompt in ChatML; the model's words follow.
const ASSISTANT: &str = "<|im_start|>assistant\n";

/// What a scripted model answers, given the prompt's text.
pub type Reply = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The decode returns an error.
    Fail,
    /// The backend panics.
    Panic,
    /// Every logit is NaN.
    Nan,
}

/// How a scripted model behaves.
#[derive(Clone)]
pub struct Script {
    /// What it answers.
    pub reply: Reply,
    /// Time for each prompt token.
    pub prefill_token: Duration,
    /// Time for each decode.
    pub decode_step: Duration,
    /// What it can hold.
    pub capacity: Capacity,
    /// Its chat template; none: ChatML.
    pub template: Option<&'static str>,
    /// How large it says it is.
    pub parameters: u64,
    /// What goes wrong, at which decode (counted from 0).
    pub faults: HashMap<u64, Fault>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            reply: Arc::new(|_| "ok".to_owned()),
            prefill_token: Duration::ZERO,
            decode_step: Duration::ZERO,
            capacity: Capacity {
                cells: 65_536,
                sequences: 8,
                context_tokens: 8_192,
                batch_tokens: 512,
                outputs: 512,
                rolls_back: true,
                shares_cells: true,
            },
            template: None,
            parameters: 0,
            faults: HashMap::new(),
        }
    }
}

impl Script {
    /// A script that answers with what `reply` makes of the prompt.
    #[must_use]
    pub fn answering(reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self {
            reply: Arc::new(reply),
            ..Self::default()
        }
    }
}

/// The backend.
#[derive(Debug)]
pub struct Scripted {
    script: Script,
    /// What each sequence holds: cells, which copies share, with their tokens.
    sequences: HashMap<SeqId, Vec<(u64, Token)>>,
    next_cell: u64,
    /// For each run of the last decode, its rows.
    logits: Vec<Vec<Vec<f32>>>,
    decodes: u64,
    abort: AbortSignal,
}

impl Scripted {
    /// A model that follows the script.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self {
            script,
            sequences: HashMap::new(),
            next_cell: 0,
            logits: Vec::new(),
            decodes: 0,
            abort: AbortSignal::default(),
        }
    }

    fn sleep(&self, time: Duration) -> Result<(), DecodeError> {
        let end = Instant::now() + time;
        loop {
            if self.abort.raised() {
                return Err(DecodeError::Aborted);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(1)));
        }
    }

    fn next_token(&self, tokens: &[Token]) -> Token {
        let bytes = bytes_of(tokens);
        let Some(at) = find_last(&bytes, ASSISTANT.as_bytes()) else {
            // A raw prompt is continued with the alphabet.
            return u32::from(b'a') + u32::try_from(tokens.len() % 26).expect("small");
        };
        let (prompt, said) = bytes.split_at(at + ASSISTANT.len());
        let reply = encode(&(self.script.reply)(&String::from_utf8_lossy(prompt)), true);
        let reply_bytes = bytes_of(&reply);
        if !reply_bytes.starts_with(said) {
            return END;
        }
        let mut length = 0;
        let next = reply.into_iter().find(|&token| {
            length += bytes_of(&[token]).len();
            length > said.len()
        });
        next.unwrap_or(END)
    }

    fn row(&self, tokens: &[Token], fault: Option<Fault>) -> Vec<f32> {
        let size = 256 + SPECIAL.len();
        if fault == Some(Fault::Nan) {
            return vec![f32::NAN; size];
        }
        let mut row = vec![0.0; size];
        row[self.next_token(tokens) as usize] = 10.0;
        row
    }
}

impl Backend for Scripted {
    fn capacity(&self) -> Capacity {
        self.script.capacity
    }

    fn abort_signal(&self) -> AbortSignal {
        self.abort.clone()
    }

    fn decode(&mut self, runs: &[Run<'_>]) -> Result<(), DecodeError> {
        let fault = self.script.faults.get(&self.decodes).copied();
        self.decodes += 1;
        let total: usize = runs.iter().map(|run| run.tokens.len()).sum();
        assert!(total <= self.script.capacity.batch_tokens as usize, "batch");
        match fault {
            Some(Fault::Fail) => return Err(DecodeError::Failed("a scripted fault".into())),
            Some(Fault::Panic) => panic!("a scripted panic"),
            Some(Fault::Nan) | None => {}
        }
        let prefill = total.saturating_sub(runs.len());
        self.sleep(self.script.decode_step)?;
        self.sleep(self.script.prefill_token * u32::try_from(prefill).expect("small"))?;
        self.logits.clear();
        for run in runs {
            let tokens = self.sequences.entry(run.seq).or_default();
            assert_eq!(tokens.len(), run.start as usize, "sequence {}", run.seq);
            for &token in run.tokens {
                self.next_cell += 1;
                tokens.push((self.next_cell, token));
            }
            let tokens: Vec<Token> = tokens.iter().map(|&(_, token)| token).collect();
            let first = tokens.len() - run.outputs as usize;
            let rows = (first..tokens.len()).map(|end| self.row(&tokens[..=end], fault));
            let rows = rows.collect();
            self.logits.push(rows);
        }
        let cells: HashSet<u64> = self
            .sequences
            .values()
            .flatten()
            .map(|cell| cell.0)
            .collect();
        if cells.len() > self.script.capacity.cells as usize {
            return Err(DecodeError::CacheFull);
        }
        Ok(())
    }

    fn logits(&self, run: usize, output: usize) -> &[f32] {
        &self.logits[run][output]
    }

    fn truncate(&mut self, seq: SeqId, keep: u32) -> bool {
        if self.script.capacity.rolls_back {
            self.sequences
                .entry(seq)
                .or_default()
                .truncate(keep as usize);
        }
        self.script.capacity.rolls_back
    }

    fn copy(&mut self, from: SeqId, to: SeqId, len: u32) {
        let mut cells = self.sequences[&from].clone();
        let whole = cells.len() == len as usize;
        assert!(
            whole || self.script.capacity.rolls_back,
            "a part was copied"
        );
        cells.truncate(len as usize);
        let before = self.sequences.insert(to, cells);
        assert!(before.is_none_or(|cells| cells.is_empty()), "not empty");
    }

    fn save(&mut self, seq: SeqId, bytes_max: usize) -> Option<Vec<u8>> {
        let cells = self.sequences.get(&seq)?;
        let fits = cells.len() * size_of::<Token>() <= bytes_max;
        let tokens = cells.iter();
        fits.then(|| tokens.flat_map(|cell| cell.1.to_le_bytes()).collect())
    }

    fn restore(&mut self, seq: SeqId, state: &[u8]) -> bool {
        let (tokens, rest) = state.as_chunks::<4>();
        let cells = tokens.iter().map(|&token| {
            self.next_cell += 1;
            (self.next_cell, Token::from_le_bytes(token))
        });
        let cells = cells.collect();
        self.sequences.insert(seq, cells);
        rest.is_empty()
    }

    fn clear(&mut self, seq: SeqId) {
        self.sequences.remove(&seq);
    }

    fn embed(&mut self, input: &[Token]) -> Result<Vec<f32>, DecodeError> {
        let sum: Token = input.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "any angle will do")]
        let angle = sum as f32;
        Ok(vec![angle.cos(), angle.sin()])
    }
}

fn bytes_of(tokens: &[Token]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &token in tokens {
        match u8::try_from(token) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(SPECIAL[token as usize - 256].bytes()),
        }
    }
    bytes
}

fn find_last(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .rposition(|window| window == wanted)
}

fn encode(text: &str, special: bool) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    'text: while let Some(&byte) = rest.as_bytes().first() {
        for (name, token) in SPECIAL.iter().zip(256..) {
            if special && let Some(after) = rest.strip_prefix(name) {
                tokens.push(token);
                rest = after;
                continue 'text;
            }
        }
        let length = rest.chars().next().map_or(1, char::len_utf8);
        tokens.push(byte.into());
        tokens.extend(
            rest.as_bytes()[1..length]
                .iter()
                .map(|&byte| Token::from(byte)),
        );
        rest = &rest[length..];
    }
    tokens
}

struct Bytes;

impl Encode for Bytes {
    fn encode(&self, text: &str, special: bool) -> Vec<Token> {
        encode(text, special)
    }
}

/// The vocabulary of every scripted model: the bytes and ChatML's marks.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let mut table = TokenTable::default();
    for byte in 0..=255u8 {
        table.push(&[byte], TokenKind::Text, false);
    }
    for name in SPECIAL {
        let (kind, ends) = match name {
            "<think>" | "</think>" => (TokenKind::Text, false),
            name => (TokenKind::Control, name != "<|im_start|>"),
        };
        table.push(name.as_bytes(), kind, ends);
    }
    table.end = END;
    Vocabulary::new(table, Box::new(Bytes))
}

/// A loaded model that follows the script, for a worker's loader.
///
/// # Panics
/// Never: the fallback template compiles.
#[must_use]
pub fn loaded(script: Script) -> Loaded {
    let vocabulary = Arc::new(vocabulary());
    let template = ChatTemplate::new(script.template, &vocabulary);
    let capacity = script.capacity;
    Loaded {
        batch: BatchSizes::default(),
        calibration: None,
        info: ModelInfo {
            architecture: "scripted".to_owned(),
            title: "scripted".to_owned(),
            parameters: script.parameters,
            quantization: "none".to_owned(),
            file_bytes: 0,
            trained_tokens: capacity.context_tokens,
            context_tokens: capacity.context_tokens,
            cells: capacity.cells,
            kv_type: KvType::default(),
            needs: Needs {
                weights: 0,
                kv_cache: 0,
                buffers: 0,
            },
            backend: BackendKind::default(),
            device: "script".to_owned(),
            threads: 1,
        },
        vocabulary,
        template: Arc::new(template.expect("a script's template compiles")),
        fingerprint: [0; 32],
        backend: Box::new(Scripted::new(script)),
    }
}
