"""All training text: an endless stream of samples of every task, fixed by its seed."""

import itertools
import random
from dataclasses import dataclass
from pathlib import Path

from answers import Answers
from triage import Events

HERE = Path(__file__).parent
TRIAGE_PROMPT = (HERE / "prompts" / "triage.txt").read_text().strip()
PLAN_PROMPT = (HERE / "prompts" / "plan.txt").read_text().strip()


@dataclass(frozen=True)
class Sample:
    task: str
    system: str | None
    user: str
    answer: str
    id: str = ""


class Corpus:
    """Iterates for ever. which: train, dev or all wordings and templates."""

    def __init__(self, seed, which="all"):
        self.rng = random.Random(seed)
        self.events = Events(self.rng, which)
        self.answers = Answers(self.rng, which)

    def __iter__(self):
        makers = {self.triage: 3, self.answer: 4}
        while True:
            yield self.rng.choices(list(makers), list(makers.values()))[0]()

    def triage(self):
        event, label = self.events.sample()
        return Sample("triage", TRIAGE_PROMPT, wrapped(self.rng, event, "Event"), label)

    def answer(self):
        fact, question = self.answers.sample()
        return Sample("answer", None, question, fact.answer, fact.id)

    def take(self, task, n):
        return list(itertools.islice((s for s in self if s.task == task), n))


def wrapped(rng, text, name):
    """Mostly bare; sometimes in the kinds of fence that callers put around data."""
    r = rng.random()
    if r < 0.85:
        return text
    low = name.lower()
    return rng.choice([f"{name}: {text}", f"{name}:\n{text}", f"```\n{text}\n```", f"<{low}>\n{text}\n</{low}>", f"<{low}>{text}</{low}>", f"<<<{rng.getrandbits(32):08x}\n{text}\n{rng.getrandbits(32):08x}>>>", f"\n{text}\n", f"'{text}'"])
