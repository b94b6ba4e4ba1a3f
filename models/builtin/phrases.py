"""The grammar of wordings, and the noise of real users.

A wording is a line such as `how (full|used) (are|is) my (disk|drive)s`. (a|b|) is a choice, {n} a value, and
<how:do it> a frame: the text put into one of the many ways to ask for it. Frames live in wordings/frames.txt.
"""

import re
import unicodedata
from pathlib import Path

HERE = Path(__file__).parent
# An item of dev is never seen in a --hold-out training; the place is arbitrary, and the same for every list.
DEV_PLACE, DEV_EVERY = 5, 8


def part(items, which):
    """The items of one part: train, dev, or all. Short lists have no dev items."""
    if which == "all":
        return list(items)
    return [x for n, x in enumerate(items) if (n % DEV_EVERY == DEV_PLACE) == (which == "dev")]


def load_sections(path):
    """{name: [lines]} of a file with `## name` heads."""
    sections, name = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            name = line[3:].strip()
            sections.setdefault(name, [])
        elif line.strip() and not line.startswith("# "):
            sections[name].append(line.strip())
    return sections


class Phrases:
    def __init__(self, rng, which="all"):
        self.rng = rng
        # Frames are shared by all wordings, so they are not held out: dev measures new content words.
        self.frames = load_sections(HERE / "wordings" / "frames.txt")
        self.synonyms = load_synonyms()

    def expand(self, wording, values=()):
        """One concrete text of a wording."""
        text = self.resolve(wording)
        for name, value in dict(values).items():
            text = text.replace("{" + name + "}", str(value))
        return " ".join(text.split())

    def resolve(self, text):
        """Innermost choices and frames first, until none is left."""
        pattern = re.compile(r"\(([^()<>]*\|[^()<>]*)\)|<(\w+):([^<>()]*)>")
        while match := pattern.search(text):
            if match[1] is not None:
                chosen = self.rng.choice(match[1].split("|"))
            else:
                frame = self.rng.choice(self.frames[match[2]])
                inner = match[3].split(";")
                chosen = frame.replace("%1", inner[0]).replace("%2", inner[-1])
            text = text[: match.start()] + chosen + text[match.end() :]
        return text

    def noisy(self, text, keep=(), language="en", synonyms=True, drop=True):
        """Text as people type it. Words in `keep` (values that must be copied) stay as they are."""
        rng = self.rng
        suffix = "_pt" if language == "pt" else ""
        words = text.split(" ")
        plain = [bool(re.fullmatch(r"[A-Za-z']+", w)) and w not in keep for w in words]
        if synonyms and rng.random() < 0.5:
            words = [self.synonym(w) if p else w for w, p in zip(words, plain)]
        r = rng.random() if drop else 1
        if r < 0.07:
            kept = [w for w in words if w.lower() not in STOP_WORDS or w in keep]
            words = kept if len(kept) > 1 else words
        elif r < 0.18:
            words = [w for w in words if w.lower() not in STOP_WORDS or w in keep or rng.random() > 0.4] or words
        elif r < 0.23 and len(words) > 4:
            dropped = rng.randrange(len(words))
            words = [w for n, w in enumerate(words) if n != dropped or w in keep]
        if rng.random() < 0.16:
            for _ in range(rng.choice((1, 1, 2))):
                n = rng.randrange(len(words))
                if words[n].lower() in TYPO_WORDS or (len(words[n]) > 5 and words[n].isalpha() and words[n].islower() and words[n] not in keep):
                    words[n] = self.typo(words[n])
        text = " ".join(words)
        if rng.random() < 0.12:
            text = f"{rng.choice(self.frames['before' + suffix])} {text}"
        if rng.random() < 0.1:
            tail = rng.choice(self.frames["after" + suffix])
            text = f"{text}{' ' if tail[0].isalnum() else ''}{tail}"
        text = self.cased(self.ended(text), keep)
        if language == "en" and rng.random() < 0.05:
            about = rng.choice(self.frames["context"])
            text = f"{about} {text}" if rng.random() < 0.6 else f"{text} {about}"
        return text

    def synonym(self, word):
        options = self.synonyms.get(word.lower())
        return self.rng.choice(options) if options and self.rng.random() < 0.3 else word

    def typo(self, word):
        n = self.rng.randrange(len(word))
        kind = self.rng.randrange(4)
        if kind == 0 and n + 1 < len(word):
            return word[:n] + word[n + 1] + word[n] + word[n + 2 :]
        if kind == 1 and len(word) > 3:
            return word[:n] + word[n + 1 :]
        if kind == 2:
            return word[:n] + word[n] + word[n:]
        return word[:n] + self.rng.choice("abcdeilmnoprstu") + word[n + 1 :]

    def ended(self, text):
        if text.endswith(("?", ".", "!")):
            return text
        return text + self.rng.choices(["", "?", ".", "??", " ?", "!"], (45, 45, 5, 2, 2, 1))[0]

    def cased(self, text, keep):
        r = self.rng.random()
        if r < 0.45 or not text:
            return text
        if r < 0.92:
            return text[0].upper() + text[1:] if text.split(" ")[0] not in keep else text
        if r < 0.97:
            return " ".join(w if w in keep or w.rstrip("?.!") in keep else w.lower() for w in text.split(" "))
        return " ".join(w if w in keep or w.rstrip("?.!") in keep else w.upper() for w in text.split(" "))


def load_synonyms():
    """{word: [others]} from wordings/synonyms.txt: words of a line may stand for each other."""
    table = {}
    for line in (HERE / "wordings" / "synonyms.txt").read_text().splitlines():
        words = line.split()
        if line.startswith("#"):
            continue
        for word in words:
            table.setdefault(word, []).extend(w for w in words if w != word)
    return table


def unaccented(text):
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


STOP_WORDS = set(
    """a an the is are was were be been do does did i my me you your it its this that these those of in on at to for
    from with by as and or so can could would should will shall have has had what's how's there here am we our us
    please just some any when if o a os as um uma de do da dos das no na nos nas em por para que e eu meu minha
    me se com""".split()
)
TYPO_WORDS = set(
    """what which where when does mean show list how command find check error file system disk process service
    please could would should there because about memory server restart install update package user port""".split()
)
