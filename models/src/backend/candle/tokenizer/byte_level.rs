//! Byte-level BPE: text is split by a pattern, its bytes become characters, and pairs of these
//! are merged by rank.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel as BytesToCharacters;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, SplitDelimiterBehavior, TokenizerImpl,
};
use tracing::error;

use super::super::unfit::Unfit;
use super::super::vocabulary::{Lexicon, list};
use crate::vocabulary::Token;

/// How a family of vocabularies splits text before pairs are merged.
#[derive(Debug)]
pub(in super::super) struct Splitting {
    /// Their names in headers.
    names: &'static [&'static str],
    /// Each splits what the one before it left.
    patterns: &'static [&'static str],
    /// Whether a word that is a token becomes that token, whatever the merges would give.
    whole_words: bool,
    /// Whether a beginning mark is put before a prompt if the header does not say.
    pub(in super::super) adds_begin: bool,
}

/// GPT-2's pattern. The last part is left out: what nothing matches is a word by itself.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The ways that are known exactly; a test compares each with llama.cpp over all characters.
static SPLITTINGS: [Splitting; 6] = [
    Splitting {
        names: &[
            "qwen2",
            "deepseek-r1-qwen",
            "megrez",
            "kormo",
            "f2llmv2",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        patterns: &[
            r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        whole_words: false,
        adds_begin: false,
    },
    Splitting {
        names: &["qwen35"],
        patterns: &[
            r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        whole_words: false,
        adds_begin: false,
    },
    Splitting {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "pixtral",
            "lfm2",
        ],
        patterns: &[LLAMA3],
        whole_words: true,
        adds_begin: true,
    },
    Splitting {
        names: &["smaug-bpe", "dbrx"],
        patterns: &[LLAMA3],
        whole_words: false,
        adds_begin: false,
    },
    Splitting {
        names: &[
            "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4",
        ],
        patterns: &[GPT2],
        whole_words: false,
        adds_begin: false,
    },
    Splitting {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
        ],
        patterns: &[r"\p{N}", GPT2],
        whole_words: false,
        adds_begin: false,
    },
];

const LLAMA3: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Splitting {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SPLITTINGS
            .iter()
            .find(|splitting| splitting.names.contains(&name))
    }
}

type Tokenizer = TokenizerImpl<
    BPE,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// A vocabulary with merges.
pub(super) struct ByteLevel(Tokenizer);

impl ByteLevel {
    pub(super) fn new(lexicon: &Lexicon<'_>, splitting: &Splitting) -> Result<Self, Unfit> {
        let missing = (0..=u8::MAX).map(character).find(|character| {
            !lexicon
                .numbers
                .contains_key(character.encode_utf8(&mut [0; 4]) as &str)
        });
        if let Some(character) = missing {
            return Err(Unfit::Vocabulary(format!("there is no token {character}")));
        }
        let numbers = lexicon.numbers.iter();
        let numbers: Vocab = numbers
            .map(|(text, &token)| (text.clone(), token))
            .collect();
        let merging = BPE::builder()
            .vocab_and_merges(numbers, merges(lexicon)?)
            .ignore_merges(splitting.whole_words)
            // The cache would keep words of its users for as long as a thread lives, for each
            // thread and each model that was ever loaded.
            .cache_capacity(0);
        let merging = merging
            .build()
            .map_err(|fault| Unfit::Vocabulary(fault.to_string()))?;
        let mut tokenizer = Tokenizer::new(merging);
        tokenizer.with_pre_tokenizer(Some(splitter(splitting)?));
        Ok(Self(tokenizer))
    }

    /// Appends the tokens of a text without special ones.
    pub(super) fn encode(&self, text: &str, out: &mut Vec<Token>) {
        match self.0.encode_fast(text, false) {
            Ok(encoding) => out.extend_from_slice(encoding.get_ids()),
            // Only a vocabulary without a token for some byte could bring this about.
            Err(fault) => error!(%fault, "a text could not be tokenized"),
        }
    }
}

fn splitter(splitting: &Splitting) -> Result<PreTokenizerWrapper, Unfit> {
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    for pattern in splitting.patterns {
        let pattern = SplitPattern::Regex(with_llamas_characters(pattern));
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
        steps.push(
            split
                .map_err(|fault| Unfit::Vocabulary(fault.to_string()))?
                .into(),
        );
    }
    steps.push(BytesToCharacters::new(false, false, false).into());
    Ok(Sequence::new(steps).into())
}

/// The pattern with the letters, marks and digits that llama.cpp knows: those of Unicode 15.1,
/// where the regex library has those of a later version.
fn with_llamas_characters(pattern: &str) -> String {
    let dated = |pattern: String, class: &str| {
        pattern.replace(class, &format!(r"[{class}&&\p{{Age=15.1}}]"))
    };
    [r"\p{L}", r"\p{M}", r"\p{N}"]
        .into_iter()
        .fold(pattern.to_owned(), dated)
}

/// The pairs in the order of their rank. A pair that comes twice keeps its first rank.
fn merges(lexicon: &Lexicon<'_>) -> Result<Vec<(String, String)>, Unfit> {
    let key = "tokenizer.ggml.merges";
    let mut seen = HashSet::new();
    let mut merges = Vec::new();
    for value in list(lexicon.gguf, key)? {
        let merge = value.as_text().and_then(split_merge);
        let (left, right) = merge.ok_or_else(|| Unfit::Key(key.to_owned()))?;
        if seen.insert((left, right)) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(merges)
}

/// The two halves of a merge. The first may be a space itself.
fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let space = first + merge[first..].find(' ')?;
    Some((&merge[..space], &merge[space + 1..]))
}

/// The character that stands for a byte inside tokens: itself if it can be seen.
fn character(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        // The others follow each other behind the first 256 characters.
        0..=0x20 => offset(byte),
        0x7f..=0xa0 => offset(byte - 0x7f + 0x21),
        0xad => offset(0x43),
    }
}

fn offset(index: u8) -> char {
    char::from_u32(0x100 + u32::from(index)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The bytes of a token. A character that stands for none is named, as llama.cpp does.
pub(in super::super) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte(c) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.extend_from_slice(b"[UNK_BYTE_0x");
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    bytes.extend_from_slice(format!("{byte:02x}").as_bytes());
                }
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(b']');
            }
        }
    }
    bytes
}

/// The byte that a character stands for.
fn byte(c: char) -> Option<u8> {
    let index = u32::from(c);
    let byte = match index {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => index,
        0x100..=0x120 => index - 0x100,
        0x121..=0x142 => index - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        let characters: HashSet<char> = (0..=u8::MAX).map(character).collect();
        assert_eq!(characters.len(), 256);
        for expected in 0..=u8::MAX {
            assert_eq!(byte(character(expected)), Some(expected));
        }
        assert_eq!(character(b' '), 'Ġ');
        assert_eq!(decode("Ġaé"), b" a\xe9");
    }
}
