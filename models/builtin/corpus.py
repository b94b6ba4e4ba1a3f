"""All training text: an endless stream of samples of every task, fixed by its seed."""

import itertools
import random
from dataclasses import dataclass
from pathlib import Path

from answers import Answers
from limits import LIMITS, Limits
from logread import Logs
from plan_requests import Plans, unplanned
from triage import Events

HERE = Path(__file__).parent
TRIAGE_PROMPT = (HERE / "prompts" / "triage.txt").read_text().strip()
PLAN_PROMPT = (HERE / "prompts" / "plan.txt").read_text().strip()
SYSTEMS = (HERE / "wordings" / "systems.txt").read_text().strip().split("\n")
# Shares of samples. Questions are short and many-sided, so they come most often.
MIX = {"triage": 26, "plan": 24, "answer": 46, "limits": 18, "log": 1}


@dataclass(frozen=True)
class Sample:
    task: str
    system: str | None
    user: str
    answer: str
    id: str = ""
    history: tuple = ()


class Corpus:
    """Iterates for ever. which: train, dev or all wordings and templates."""

    def __init__(self, seed, which="all"):
        self.rng = random.Random(seed)
        self.events = Events(self.rng, which)
        self.plans = Plans(self.rng, which)
        self.answers = Answers(self.rng, which)
        self.outside = Limits(self.rng, [f for f, _ in self.answers.facts], which)
        self.logs = Logs(self.rng, which)

    def __iter__(self):
        tasks, weights = zip(*MIX.items())
        while True:
            yield self.make(self.rng.choices(tasks, weights)[0])

    def make(self, task):
        return getattr(self, task)()

    def triage(self):
        event, label = self.events.sample()
        return Sample("triage", TRIAGE_PROMPT, wrapped(self.rng, event, "Event"), label)

    def plan(self):
        if self.rng.random() < 0.02:
            return self.unplanned()
        intent, request, plan = self.plans.sample()
        return Sample("plan", PLAN_PROMPT, wrapped(self.rng, request, "Request") if self.rng.random() < 0.3 else request, plan, intent.id)

    def unplanned(self):
        """A request that no intent covers: the plan looks it up instead of making something up."""
        request, answer = self.outside.question()
        plan = unplanned(request[:100], "pt" if answer == LIMITS["pt"] else "en")
        return Sample("plan", PLAN_PROMPT, request[:100], plan, "unplanned")

    def answer(self):
        if self.rng.random() < 0.12:
            name, question, answer = self.answers.sample_pt()
            return Sample("answer", self.system(), question, answer, name, self.history())
        fact, question = self.answers.sample()
        return Sample("answer", self.system(), question, fact.answer, fact.id, self.history())

    def limits(self):
        question, answer = self.outside.sample()
        return Sample("limits", self.system(), question, answer, "limits" if answer in LIMITS.values() else "talk", self.history())

    def log(self):
        text, answer = self.logs.sample()
        return Sample("log", self.system(), text, answer)

    def system(self):
        """Callers of `ask` give no system prompt, or any."""
        return None if self.rng.random() < 0.5 else self.rng.choice(SYSTEMS)

    def history(self):
        """Now and then the question comes later in a conversation."""
        if self.rng.random() > 0.06:
            return ()
        turns = []
        for _ in range(self.rng.choice((1, 1, 2))):
            fact, question = self.answers.sample()
            turns.append((question, fact.answer))
        return tuple(turns)

    def take(self, task, n):
        return [self.make(task) for _ in range(n)]


def wrapped(rng, text, name):
    """Mostly bare; sometimes in the kinds of fence that callers put around data."""
    if rng.random() < 0.85:
        return text
    low, mark = name.lower(), f"{rng.getrandbits(32):08x}"
    return rng.choice(
        [
            f"{name}: {text}",
            f"{name}:\n{text}",
            f"```\n{text}\n```",
            f"<{low}>\n{text}\n</{low}>",
            f"<{low}>{text}</{low}>",
            f"<<<{mark}\n{text}\n{mark}>>>",
            f"\n{text}\n",
            f"'{text}'",
        ]
    )


if __name__ == "__main__":
    for sample in itertools.islice(Corpus(1), 30):
        print(f"[{sample.task} {sample.id}] {sample.user}\n    -> {sample.answer}")
