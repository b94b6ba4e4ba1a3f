"""Questions for the facts: the wordings of wordings/fact-*.txt, made concrete and noisy."""

import fnmatch
import re
from pathlib import Path

from facts import load_facts
from phrases import STOP_WORDS, Phrases, load_sections, part, unaccented

HERE = Path(__file__).parent


def load_portuguese():
    """{fact id: answer} of the facts that are answered in Portuguese as well."""
    return dict(line.split(": ", 1) for line in (HERE / "facts" / "answers.pt").read_text().splitlines())


def load_wordings(which, files="fact-*.txt"):
    """{fact id: [wordings]}; the wordings of a family go to each of its facts."""
    sections = {}
    for path in sorted((HERE / "wordings").glob(files)):
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


def derived_wordings(fact):
    """Wordings that the answer itself suggests: somebody who knows the answer asks in its words."""
    wordings = []
    plain = re.sub(r"[<>()|]", " ", fact.answer)
    for command, verb, rest in re.findall(r"`([^`]+)`(?: \w+){0,2}? ([a-z]+s) ([^`.;:]{8,90})", plain):
        rest = re.sub(r"[ ,]*\b(and|or)?[ ,]*$", "", rest)
        command = re.sub(r" ?\b[A-Z]{3,}\b", "", command)
        wordings += [f"(which command|what|what command|which tool|the command that|is there something that) {verb} {rest}"]
        wordings += [f"<how:{base_form(verb)} {rest}>", f"<def:{command}>"]
    verbs = "is|are|means|holds|lists|has|says|maps|names|counts|tells|sets|makes|keeps"
    if match := re.match(rf"([A-Z][\w./ -]{{1,40}}?) ({verbs}) (.{{10,90}}?)[.;:]", plain):
        wordings += [f"<def:{match[1]}>", f"(what|which thing|what do you call what) {match[2]} {match[3]}"]
    return wordings


def base_form(verb):
    """lists -> list, searches -> search"""
    return verb[:-2] if verb.endswith(("ches", "shes", "sses", "xes")) else verb[:-3] + "y" if verb.endswith("ies") else verb[:-1]


def keywords(fact):
    """The words of an answer that carry meaning, in no order."""
    words = re.findall(r"[A-Za-z][\w.-]{2,}", fact.answer)
    return [w for w in dict.fromkeys(words) if w.lower() not in STOP_WORDS]


class Answers:
    def __init__(self, rng, which="all"):
        self.rng, self.phrases = rng, Phrases(rng)
        self.which = which
        wordings = load_wordings(which)
        self.facts = [(f, wordings[f.id]) for f in load_facts() if wordings[f.id]]
        self.derived = {f.id: derived_wordings(f) for f, _ in self.facts}
        self.portuguese = load_portuguese()
        self.wordings_pt = load_wordings(which, "pt-facts.txt")
        self.by_id = {f.id: f for f, _ in self.facts}
        # A family of forty shares its wordings, so each of its members needs fewer turns than a fact of its own.
        self.weights = [0.7 if f.values else 1.0 for f, _ in self.facts]

    def sample(self):
        """(fact, question)"""
        fact, wordings = self.rng.choices(self.facts, self.weights)[0]
        r = self.rng.random() if self.which != "dev" else 1
        if r < 0.04:
            words = keywords(fact)
            return fact, self.phrases.noisy(" ".join(self.rng.sample(words, min(len(words), self.rng.randint(3, 6)))))
        if r < 0.14 and self.derived[fact.id]:
            return fact, self.question(fact, self.rng.choice(self.derived[fact.id]))
        return fact, self.question(fact, self.rng.choice(wordings))

    def sample_pt(self):
        """(fact id, question, answer) in Portuguese"""
        name = self.rng.choice(list(self.portuguese))
        if not self.wordings_pt[name]:
            return self.sample_pt()
        fact = self.by_id[name]
        text = self.phrases.expand(self.rng.choice(self.wordings_pt[name]), fact.values)
        keep = [w for value in fact.values.values() for w in value.split(" ")]
        text = unaccented(text) if self.rng.random() < 0.35 else text
        # No dropped words: what is left could be read as English.
        return name, self.phrases.noisy(text, keep, "pt", synonyms=False, drop=False), self.portuguese[name]

    def question(self, fact, wording):
        text = self.phrases.expand(wording, fact.values)
        keep = [w for value in fact.values.values() for w in value.split(" ")]
        # What is being defined or compared is often the name of a command (last, free): it has no synonyms.
        technical = wording.startswith(("<def:", "<diff:", "<err:"))
        return self.phrases.noisy(text, keep, synonyms=not technical)
