"""What lies outside: unrelated questions, questions near the domain that no fact answers, and small talk."""

import re
from pathlib import Path

from phrases import Phrases, load_sections, part
from values import Values

HERE = Path(__file__).parent
LIMITS = {
    "en": "I am FazAI's small built-in model and know Linux operations only; for anything else get a larger one with `fazai models pull qwen3:0.6b`.",
    "pt": "Sou o pequeno modelo embutido do FazAI e só conheço operações de Linux; para o resto, baixe um modelo maior com `fazai models pull qwen3:0.6b`.",
}
SMALL_TALK = {
    "hello": "Hello! I am FazAI's small built-in model: ask me about Linux operations, or pipe a log into `fazai ask`.",
    "hello_pt": "Olá! Sou o pequeno modelo embutido do FazAI: pergunte sobre operações de Linux, ou passe um log para `fazai ask`.",
    "who": "I am the small built-in model of the FazAI worker: I triage events, plan tasks and answer questions on Linux operations. A larger model comes with `fazai models pull qwen3:0.6b`.",
    "who_pt": "Sou o pequeno modelo embutido do FazAI: classifico eventos, planejo tarefas e respondo perguntas sobre operações de Linux. Um modelo maior vem com `fazai models pull qwen3:0.6b`.",
    "thanks": "You are welcome.",
    "thanks_pt": "De nada.",
}
# Numbers that look like a known exit code, port or status and are none: an honest no instead of a guess.
UNKNOWN_NUMBERS = {
    "exit-*": [n for n in range(3, 256) if n not in (124, 125, 126, 127, 128, 129, 130, 131, 132, 134, 135, 136, 137, 139, 141, 143, 152, 159, 255)],
    "http-*": [n for n in range(100, 600) if n not in (101,)],
    "port-*": list(range(1, 65536)),
    "smart-*": list(range(1, 255)),
    "sig-*": list(range(32, 65)),
}


class Limits:
    def __init__(self, rng, facts, which="all"):
        self.rng, self.values, self.phrases = rng, Values(rng), Phrases(rng)
        sections = load_sections(HERE / "wordings" / "limits.txt")
        lists = dict(line.split(": ", 1) for line in sections.pop("lists"))
        # Topics are held out by template and by word.
        self.lists = {name: part(words.split("|"), which) or words.split("|") for name, words in lists.items()}
        self.topics = {name: part(lines, which) for name, lines in sections.items()}
        self.small_talk = {name: part(lines, which) for name, lines in load_sections(HERE / "wordings" / "smalltalk.txt").items()}
        families = load_sections(HERE / "wordings" / "fact-families.txt")
        known = {f.values.get("n") for f in facts} | {f.values.get("num") for f in facts}
        self.unknown = []
        for name, numbers in UNKNOWN_NUMBERS.items():
            wordings = [w for w in families[name] if set(re.findall(r"\{(\w+)\}", w)) in ({"n"}, {"num"})]
            # A family with too few of them has none to hold out.
            self.unknown.append((part(wordings, which) or wordings, [n for n in numbers if str(n) not in known]))

    def sample(self):
        """(question, answer)"""
        r = self.rng.random()
        if r < 0.12:
            key = self.rng.choice(list(self.small_talk))
            return self.noisy(self.rng.choice(self.small_talk[key]), key), SMALL_TALK[key]
        if r < 0.2:
            wordings, numbers = self.rng.choice(self.unknown)
            n = str(self.rng.choice(numbers))
            return self.phrases.noisy(self.phrases.expand(self.rng.choice(wordings), {"n": n, "num": n}), [n]), LIMITS["en"]
        return self.question()

    def question(self):
        """An unrelated question with its answer."""
        # The square root lets large topics come up more often, but small ones often enough.
        names = list(self.topics)
        name = self.rng.choices(names, [len(self.topics[n]) ** 0.7 for n in names])[0]
        text = self.fill(self.rng.choice(self.topics[name]))
        if name.startswith("portuguese"):
            return self.noisy(text, "x_pt"), LIMITS["pt"]
        return self.phrases.noisy(text, synonyms=False), LIMITS["en"]

    def noisy(self, text, key):
        return self.phrases.noisy(text, language="pt" if key.endswith("_pt") else "en", synonyms=False)

    def fill(self, template):
        text = self.phrases.expand(template)
        for _ in range(2):
            text = re.sub(r"\{(\w+)\}", lambda m: self.values.madeup() if m[1] == "madeup" else self.rng.choice(self.lists[m[1]]), text)
        return text
