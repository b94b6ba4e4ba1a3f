"""Measures a run on the development data: python evaluate_dev.py run/NAME/params.pkl [samples for each task] [-v].

Two kinds: the wordings that --hold-out leaves out of training (honest only for such a run), and dev/*.txt, which are
never trained on. The held-out sets of the project are another matter: somebody else wrote them, `fazai bench quality`
measures them, and nothing here reads them.
"""

import train  # first: it sets XLA up for the CPU

import json
import pickle
import re
import sys
from collections import Counter
from pathlib import Path

import model
from corpus import PLAN_PROMPT, Corpus, Sample
from decode import generate
from facts import load_facts
from limits import LIMITS
from tokenizer import Chat

HERE = Path(__file__).parent
FACTS = {f.id: f for f in load_facts()}


def score_triage(sample, text):
    got, want = parsed(text), json.loads(sample.answer)
    return {"valid": bool(got), **{key: got.get(key) == want[key] for key in ("severity", "category", "action")}}


def score_plan(sample, text):
    got, want = parsed(text), json.loads(sample.answer)
    first = (got.get("steps") or [{}])[0]
    return {"valid": bool(got), "first step": {**first, "explain": 0} == {**want["steps"][0], "explain": 0}}


def score_answer(sample, text):
    # Portuguese answers have no keys of their own.
    right = text == sample.answer or any(re.search(k, text, re.I) for k in FACTS[sample.id].keys)
    return {"key": right and text not in LIMITS.values(), "not refused": text not in LIMITS.values()}


def score_limits(sample, text):
    return {sample.id: text == sample.answer}


def score_log(sample, text):
    return {"exact": text == sample.answer}


def score_dev_plan(sample, text):
    first = (parsed(text).get("steps") or [{}])[0]
    return {"first step": sample.answer in (first.get("command"), first.get("name"))}


def score_dev_answer(sample, text):
    return score_answer(sample, text)


def score_dev_limits(sample, text):
    return {"recognised": text in LIMITS.values()}


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return {}


def lines(name):
    return [x for x in (HERE / "dev" / name).read_text().splitlines() if not x.startswith("#")]


def dev_samples(which, samples, seed):
    corpus = Corpus(seed, which)
    sets = {task: corpus.take(task, samples if task != "log" else samples // 5) for task in ("triage", "plan", "answer", "limits", "log")}
    sets["dev_answer"] = [Sample("dev", None, q, FACTS[i].answer, i) for i, q in (x.split(" | ", 1) for x in lines("answers.txt"))]
    sets["dev_plan"] = [Sample("dev", PLAN_PROMPT, q, c) for c, q in (x.rsplit(" | ", 1) for x in lines("plan.txt"))]
    sets["dev_limits"] = [Sample("dev", None, q, "") for q in lines("limits.txt")]
    return sets


def evaluate(params, which="dev", samples=400, seed=11):
    """({set: {measure: share}}, [(set, input, wanted, got)])"""
    chat, report, wrong = Chat(), {}, []
    for name, batch in dev_samples(which, samples, seed).items():
        prompts = [chat.prompt(s.system, s.user, s.history) for s in batch]
        fitting = [(s, p) for s, p in zip(batch, prompts) if len(p) <= 1024]
        texts = generate(model.Config(), params, chat, [p for _, p in fitting])
        right, count = Counter(), Counter()
        for (sample, _), text in zip(fitting, texts):
            scores = globals()[f"score_{name}"](sample, text)
            right.update({k: int(v) for k, v in scores.items()})
            count.update(scores.keys())
            if not all(scores.values()):
                wrong.append((name, sample.id, sample.user, sample.answer, text))
        report[name] = {k: round(right[k] / count[k], 3) for k in count}
    return report, wrong


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        weights = pickle.load(file)
    figures, mistakes = evaluate(weights, samples=int(sys.argv[2]) if len(sys.argv) > 2 else 400)
    print(json.dumps(figures, indent=1))
    for name, what, user, wanted, got in mistakes if "-v" in sys.argv else []:
        print(f"[{name} {what}] {user[-300:]}\n  want {wanted}\n  got  {got}")
