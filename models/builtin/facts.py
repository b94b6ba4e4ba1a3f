"""The knowledge of the built-in model: facts/*.txt, one block for each fact.

    # topic: exit codes
    exit-137 | n=137                 id, then values for the shared wordings of its family
      Exit code 137 is 128 + 9 ...   the answer
      = SIGKILL ; OOM                regexes; an answer in which any of them matches is right

`python facts.py` checks the files and writes FACTS.md, which holds everything but the question wordings.
"""

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Fact:
    id: str
    topic: str
    values: dict
    answer: str
    keys: tuple


def load_facts():
    facts = []
    for path in sorted((HERE / "facts").glob("*.txt")):
        facts += parse(path.read_text())
    return facts


def parse(text):
    topic, head, answer = None, None, None
    for line in text.splitlines():
        if line.startswith("# topic:"):
            topic = line.split(":", 1)[1].strip()
        elif line.startswith("  = "):
            name, _, values = head.partition(" | ")
            pairs = (v.split("=", 1) for v in values.split(", ") if v)
            yield Fact(name, topic, dict(pairs), answer, tuple(line[4:].split(" ; ")))
        elif line.startswith("  "):
            answer = line.strip()
        elif line:
            head = line.strip()


def check(facts):
    seen = set()
    for fact in facts:
        assert fact.id not in seen, f"{fact.id} is there twice"
        seen.add(fact.id)
        assert all(re.search(k, fact.answer, re.I) for k in fact.keys[:1]), f"{fact.id}: {fact.keys}"
        assert len(fact.answer) <= 260, f"{fact.id}: {len(fact.answer)} characters"


def to_markdown(facts):
    lines = [
        "# Facts of the built-in model",
        "",
        f"{len(facts)} facts, written by `python facts.py` from facts/*.txt. An answer is right if any of the",
        "keys (regular expressions, case ignored) matches it.",
    ]
    topic = None
    for fact in facts:
        if fact.topic != topic:
            topic = fact.topic
            lines += ["", f"## {topic}", ""]
        keys = " , ".join(f"`` {key} ``" for key in fact.keys)
        lines += [f"- **{fact.id}**: {fact.answer}", f"  - key: {keys}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    all_facts = load_facts()
    check(all_facts)
    (HERE / "FACTS.md").write_text(to_markdown(all_facts))
    print(len(all_facts), "facts")
