"""Logs to be read: a question, a blank line, and 3 to 50 lines of which none, one or a few tell of a failure."""

from pathlib import Path

from phrases import Phrases, load_sections, part
from triage import load_templates
from values import Values

HERE = Path(__file__).parent
TELLING = ("service", "resource", "hardware", "web")
TEXT = {
    "en": ("{} failed: {}", "{} failed with result '{}'", "{} reported: {}", "Nothing failed: these lines show only routine messages.", "{} problems: {}."),
    "pt": ("{} falhou: {}", "{} falhou com o resultado '{}'", "{} relatou: {}", "Nada falhou: estas linhas mostram só mensagens de rotina.", "{} problemas: {}."),
}


class Logs:
    def __init__(self, rng, which="all"):
        self.rng, self.values, self.phrases = rng, Values(rng), Phrases(rng)
        groups = load_templates(which)
        self.routine = [g for g in groups if g[1] == "info" and g[2] in ("service", "auth", "network", "hardware")]
        self.errors = [g for g in groups if g[1] in ("medium", "high", "critical") and g[2] in TELLING and "systemd" not in g[0] and "nginx" not in g[0] and "apache2" not in g[0]]
        rules = [x.split(" | ") for x in (HERE / "events" / "failures.rules").read_text().splitlines() if not x.startswith("#")]
        self.failures = part(rules, which)
        self.questions = {k: part(v, which) for k, v in load_sections(HERE / "wordings" / "logread.txt").items()}

    def sample(self):
        """(input, answer)"""
        language = self.rng.choices(("en", "pt"), (4, 1))[0]
        count = self.rng.choices((0, 1, 2, 3), (2, 6, 2, 1))[0]
        stories = [self.story(language) for _ in range(count)]
        lines = self.rng.choices((range(3, 8), range(8, 16), range(16, 51)), (6, 3, 0.6))[0]
        blocks = [lines_ for _, lines_ in stories] + [[self.routine_line()] for _ in range(self.rng.choice(lines))]
        self.rng.shuffle(blocks)
        # The answer tells of the failures in the order of the log.
        told = [text for block in blocks for text, lines_ in stories if lines_ is block]
        question = self.phrases.noisy(self.rng.choice(self.questions[language]), language=language, synonyms=False)
        log = self.written([line for block in blocks for line in block])
        return f"{question}\n\n{log}", self.answer(told, language)

    def answer(self, told, language):
        texts = TEXT[language]
        if not told:
            return texts[3]
        return told[0].rstrip(".") + "." if len(told) == 1 else texts[4].format(len(told), "; ".join(t.rstrip(".") for t in told))

    def story(self, language):
        """(what to tell, [(program, message)])"""
        texts = TEXT[language]
        if self.rng.random() < 0.45:
            group = self.rng.choice(self.errors)
            program = self.values.fill(self.rng.choice(group[0]))
            message = self.values.fill(self.rng.choice(group[4]))
            if len(message) > 130:
                return self.story(language)
            return texts[2].format(program, message), [(program, message)]
        unit, program, cause = (self.values.fill(x) for x in self.rng.choice(self.failures))
        program = program.replace("{self}", unit.split(".")[0])
        result = self.rng.choice(["exit-code", "exit-code", "signal", "timeout", "core-dump"])
        after = [
            ("systemd", f"{unit}: Main process exited, code=exited, status={self.values.status()}"),
            ("systemd", f"{unit}: Failed with result '{result}'."),
            ("systemd", f"Failed to start {unit} - {self.values.desc()}."),
        ]
        after = [x for x in after if "Failed with" in x[1] or self.rng.random() < 0.6]
        before = [("systemd", f"Starting {unit} - {self.values.desc()}...")] if self.rng.random() < 0.5 else []
        if self.rng.random() < 0.3:
            return texts[1].format(unit, result), before + after
        level = self.rng.choice(["", "", "", "error: ", "ERROR: ", "[emerg] ", "fatal: ", "Error: "])
        level = "" if cause.lower().startswith(("fatal", "error", "[alert", "panic")) else level
        return texts[0].format(unit, cause), before + [(program, level + cause)] + after

    def routine_line(self):
        group = self.rng.choice(self.routine)
        return self.values.fill(self.rng.choice(group[0])), self.values.fill(self.rng.choice(group[4]))

    def written(self, lines):
        """All lines in one style, with rising times."""
        v = self.values
        style = self.rng.choice(["syslog", "syslog", "iso", "bare", "short"])
        host, day = v.host().split(".")[0], v.sys_time()[:6]
        date = v.date()[:10]
        seconds = self.rng.randint(0, 80000)
        out = []
        for program, message in lines:
            seconds += self.rng.randint(0, 90)
            clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
            pid = "" if program == "kernel" else "[1]" if program == "systemd" else f"[{v.pid()}]"
            body = f"{program}{pid}: {message}"
            out.append({"syslog": f"{day} {clock} {host} {body}", "iso": f"{date}T{clock}+0000 {host} {body}", "bare": body, "short": f"{clock} {body}"}[style])
        return "\n".join(out)
