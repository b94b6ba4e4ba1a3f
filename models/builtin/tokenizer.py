"""The tokenizer: byte-level BPE with the pre-tokenizer of Qwen2, trained on samples of every task.

`python tokenizer.py` writes tokenizer.json.
"""

import itertools
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
FILE = HERE / "tokenizer.json"
VOCABULARY = 4096
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# llama.cpp knows this one as tokenizer.ggml.pre = "qwen2".
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        # A piece that is seen a few times is a made-up name: not worth a token.
        min_frequency=20,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Chat:
    """ChatML on top of the tokenizer. The text of a message can't form special tokens."""

    def __init__(self, path=FILE):
        self.tokenizer = Tokenizer.from_file(str(path))
        self.end_of_text, self.start, self.end = (self.tokenizer.token_to_id(t) for t in SPECIAL)
        self.newline = self.encode("\n")

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def message(self, role, text):
        return [self.start, *self.encode(f"{role}\n{text}"), self.end, *self.newline]

    def prompt(self, system, user, history=()):
        """The tokens up to where the answer begins; no system message if system is None."""
        tokens = self.message("system", system) if system is not None else []
        for question, answer in history:
            tokens += self.message("user", question) + self.message("assistant", answer)
        return tokens + self.message("user", user) + [self.start, *self.encode("assistant\n")]

    def answer(self, text):
        return [*self.encode(text), self.end]


if __name__ == "__main__":
    from corpus import Corpus

    corpus = Corpus(seed=7)
    texts = itertools.chain.from_iterable((s.system or "", s.user, s.answer) for s in itertools.islice(corpus, 100_000))
    made = train(texts)
    made.save(str(FILE))
    print(made.get_vocab_size(), "tokens")
