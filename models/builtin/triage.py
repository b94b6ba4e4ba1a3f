"""Events and their labels, by the rules of TRIAGE.md. `python triage.py 20` prints twenty."""

import json
import random
import re
import sys
from pathlib import Path

import triage_net
import triage_web
from phrases import part
from values import Values

HERE = Path(__file__).parent
ATTACKS = ("bruteforce", "recon", "exploit", "dos")
ESCALATED = ("malware", "exfiltration", "privilege", "integrity", "auth")


def action(severity, category, has_address, stopped):
    if severity in ("info", "low"):
        return "observe"
    if category in ATTACKS:
        return "block" if has_address and not stopped else "alert" if severity != "critical" else "escalate"
    if severity == "medium":
        return "alert"
    return "escalate" if severity == "critical" or category in ESCALATED else "alert"


def label(severity, category, reason, has_address=False, stopped=False):
    """The output as the grammar has it: compact, keys in the order of the schema."""
    verdict = action(severity, category, has_address, stopped)
    return json.dumps(dict(severity=severity, category=category, action=verdict, reason=reason), separators=(",", ":"))


def load_templates(which):
    """[(programs, severity, category, reasons, lines)]"""
    groups = []
    for path in sorted((HERE / "events").glob("*.txt")):
        programs, group = [], None
        for line in path.read_text().splitlines():
            if line.startswith("@ "):
                programs = line[2:].split()
            elif line.startswith("= "):
                head, *reasons = line[2:].split(" | ")
                group = (list(programs), *head.split(), reasons, [])
                groups.append(group)
            elif line and not line.startswith("# "):
                group[4].append(line)
    split = [(g, part(g[4], which)) for g in groups]
    return [(*g[:4], lines) for g, lines in split if lines]


class Events:
    def __init__(self, rng, which="all"):
        self.rng = rng
        self.values = Values(rng)
        self.logs = load_templates(which)
        # Classes with many lines come up more often, but not in proportion.
        self.log_weights = [len(g[4]) ** 0.5 for g in self.logs]
        self.which = which

    def sample(self):
        """(event text, label JSON)"""
        kinds = [self.log, self.suricata, self.falco, self.access, self.metric]
        return self.rng.choices(kinds, (4.5, 3, 1.5, 2.5, 2.2))[0]()

    def suricata(self):
        event, verdict = triage_net.suricata(self.values, self.which)
        return as_json(self.values, event), label(**verdict)

    def falco(self):
        event, verdict = triage_net.falco(self.values, self.which)
        return (event if isinstance(event, str) else as_json(self.values, event)), label(**verdict)

    def access(self):
        event, verdict = triage_web.access(self.values, self.which)
        return (event if isinstance(event, str) else as_json(self.values, event)), label(**verdict)

    def metric(self):
        event, verdict = triage_web.metric(self.values)
        return (event if isinstance(event, str) else as_json(self.values, event)), label(**verdict)

    def log(self):
        programs, severity, category, reasons, lines = self.rng.choices(self.logs, self.log_weights)[0]
        template = self.rng.choice(lines)
        has_address = bool(re.search(r"\{(ip|lan)\}", template))
        text = self.values.fill(template)
        program = self.values.fill(self.rng.choice(programs))
        # Reasons are not scored; one of two keeps the loss from depending on a single sentence.
        return self.prefixed(program, text), label(severity, category, self.rng.choice(reasons), has_address)

    def prefixed(self, program, text):
        v, r = self.values, self.rng.random()
        pid = "" if program == "kernel" else "[1]" if program == "systemd" else f"[{v.pid()}]" if self.rng.random() < 0.8 else ""
        stamp = f"[{self.rng.randint(0, 9999999):>{self.rng.choice((1, 5))}}.{v.digits(6)}] "
        if program == "kernel" and r < 0.3:
            return f"{stamp}{text}"
        if r < 0.55:
            inner = stamp if program == "kernel" and self.rng.random() < 0.6 else ""
            return f"{v.sys_time()} {v.host()} {program}{pid}: {inner}{text}"
        if r < 0.7:
            return f"{v.iso()} {v.host()} {program}{pid}: {text}"
        if r < 0.82:
            return as_json(v, self.journal(program, text))
        if r < 0.92:
            return f"{program}{pid}: {text}"
        return text if program != "kernel" else f"kernel: {text}"

    def journal(self, program, text):
        v = self.values
        entry = {"MESSAGE": text, "SYSLOG_IDENTIFIER": program}
        extra = {
            "PRIORITY": str(self.rng.randint(2, 7)),
            "_HOSTNAME": v.host(),
            "_PID": str(v.pid()),
            "_UID": "0",
            "_COMM": program,
            "__REALTIME_TIMESTAMP": "16" + v.digits(14),
            "_TRANSPORT": self.rng.choice(["syslog", "kernel", "journal", "stdout"]),
            "_SYSTEMD_UNIT": f"{program}.service",
            "_BOOT_ID": f"{self.rng.getrandbits(128):032x}",
        }
        for key in self.rng.sample(sorted(extra), self.rng.randint(1, 5)):
            entry[key] = extra[key]
        return entry


def as_json(values, event):
    """One line of JSON with the fields in a random order, and in one of the usual spacings."""
    items = list(event.items())
    if values.chance(0.5):
        values.rng.shuffle(items)
    separators = values.pick([(",", ":"), (",", ":"), (", ", ": ")])
    return json.dumps(dict(items), separators=separators, ensure_ascii=values.chance(0.5))


if __name__ == "__main__":
    events = Events(random.Random(sys.argv[2] if len(sys.argv) > 2 else 1))
    for _ in range(int(sys.argv[1])):
        print(*events.sample(), sep="\n  -> ")
