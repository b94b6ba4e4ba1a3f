"""The intents of the planner: plans/intents.txt. `python plans.py` writes PLAN.md from them."""

import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Step:
    risk: str
    command: str
    explain: dict  # language -> text with {slots}

    def render(self, slots, language):
        """The step as the model must write it: compact JSON with keys in the order of the schema."""
        explain = fill(self.explain[language], slots)
        if not self.command.startswith("tool "):
            step = {"type": "shell", "command": fill(self.command, slots)}
        else:
            _, name, args = self.command.split(" ", 2)
            step = {"type": "use_tool", "name": name, "args": json.loads(fill(args, slots))}
        return step | {"explain": explain, "riskLevel": self.risk}


@dataclass(frozen=True)
class Intent:
    id: str
    group: str
    asks: str
    steps: tuple
    first: str


def fill(text, slots):
    # Not str.format: commands hold braces of their own.
    for name, value in slots.items():
        text = text.replace("{" + name + "}", value)
    return text


def load_intents():
    return list(parse((HERE / "plans" / "intents.txt").read_text()))


def parse(text):
    group, head, steps, first = None, None, [], ""
    for line in text.splitlines() + ["== end"]:
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith("  ") and head:
            yield Intent(head[0], group, head[1], tuple(steps), first)
            head, steps, first = None, [], ""
        if line.startswith("== "):
            group = line[3:]
        elif line.startswith("  first: "):
            first = line[9:]
        elif line.startswith("  "):
            risk, command, en, pt = line.strip().split(" :: ")
            steps.append(Step(risk, command, {"en": en, "pt": pt}))
        else:
            head = line.split(" :: ")


def to_markdown(intents):
    lines = [
        "# Plans of the built-in model",
        "",
        f"{len(intents)} intents, written by `python plans.py` from plans/intents.txt. Requests come in English or",
        "Portuguese; words in {braces} are copied from the request. The first step is right if its command is the",
        "one below, or matches the regex under `also`. `tool X` means a use_tool step. The explanation is in the",
        "language of the request. Debian's apt is assumed unless Fedora, RHEL, CentOS, Rocky, Alma or dnf is named.",
        "",
        "Values: {path} and {file} as written, {dev} such as /dev/sdb1, {lv} such as /dev/vg0/data or vg0/data, {unit}",
        "as written (with or without .service), {size} as 10G or 512M whatever the spelling (10 GB, 10 gigas), {hour}",
        "from 0 to 23, {url} with http:// or https://, {query} the words to search for.",
    ]
    group = None
    for intent in intents:
        if intent.group != group:
            group = intent.group
            lines += ["", f"## {group}", ""]
        lines.append(f"- **{intent.id}**: {intent.asks}")
        lines += [f"  {n}. `` {s.command} `` ({s.risk})" for n, s in enumerate(intent.steps, 1)]
        if intent.first:
            lines.append(f"  - also: `` {intent.first} ``")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    all_intents = load_intents()
    (HERE / "PLAN.md").write_text(to_markdown(all_intents))
    print(len(all_intents), "intents")
