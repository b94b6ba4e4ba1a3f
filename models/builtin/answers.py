"""Questions for the facts: the wordings of wordings/fact-*.txt, made concrete and noisy."""

import fnmatch
from pathlib import Path

from facts import load_facts
from phrases import Phrases, load_sections, part

HERE = Path(__file__).parent


def load_wordings(which):
    """{fact id: [wordings]}; the wordings of a family go to each of its facts."""
    sections = {}
    for path in sorted((HERE / "wordings").glob("fact-*.txt")):
        for name, lines in load_sections(path).items():
            sections.setdefault(name, []).extend(lines)
    table = {}
    for fact in load_facts():
        # Families are found by the id, or by the `family` value where the ids differ.
        names = [fact.id, *([fact.values["family"]] if "family" in fact.values else [])]
        lines = []
        for pattern, wordings in sections.items():
            if any(fnmatch.fnmatchcase(name, pattern) for name in names) and (fact.values or "*" not in pattern):
                lines += [w for w in part(wordings, which) if usable(w, fact)]
        table[fact.id] = lines
    return table


def usable(wording, fact):
    slots = {w.split("}")[0] for w in wording.split("{")[1:]}
    return slots <= set(fact.values)


class Answers:
    def __init__(self, rng, which="all"):
        self.rng, self.phrases = rng, Phrases(rng)
        wordings = load_wordings(which)
        self.facts = [(f, wordings[f.id]) for f in load_facts() if wordings[f.id]]
        # A family of forty shares its wordings, so each of its members needs fewer turns than a fact of its own.
        self.weights = [0.7 if f.values else 1.0 for f, _ in self.facts]

    def sample(self):
        """(fact, question)"""
        fact, wordings = self.rng.choices(self.facts, self.weights)[0]
        return fact, self.question(fact, self.rng.choice(wordings))

    def question(self, fact, wording):
        text = self.phrases.expand(wording, fact.values)
        keep = [w for value in fact.values.values() for w in value.split(" ")]
        return self.phrases.noisy(text, keep)
