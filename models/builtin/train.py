"""Trains the built-in model: python train.py --run NAME --steps N. Stopped runs resume, also with other steps.

Samples are made on the fly and packed into rows; they never end and are never repeated. The loss counts the answer
fully and a question a little: its words are worth learning. Events, full of random addresses, don't count.
"""

import ctypes
import os

# Freed memory stays with the process: taking it anew from Linux cost a fifth of the time. Elsewhere than in glibc
# there is no such switch. The numbers are M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h.
if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
    for option, value in ((-8, 1), (-4, 0), (-1, -1), (-2, 1 << 26)):
        mallopt(option, value)

# oneDNN's products in bf16 use AMX where the CPU has it: three times the speed. Elsewhere these change nothing.
os.environ.setdefault("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_use_onednn=true --xla_cpu_experimental_onednn_fusion_type=LIBRARY_FUSION_TYPE_DOT"
)

import argparse
import functools
import json
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

import model
from corpus import PLAN_PROMPT, TRIAGE_PROMPT, Corpus
from tokenizer import Chat

HERE = Path(__file__).parent
BATCH_TOKENS = 4608
ROW_LENGTHS = (192, 384, 768, 2048)
SHARING_LENGTH = 384  # shorter rows hold too few samples to share a system prompt
LOSS_POSITIONS = 2816
PROMPT_WEIGHT = 0.03
PEAK_RATE = 3e-3
WARMUP_STEPS = 150
DECAY_SHARE = 0.35
CHECKPOINT_STEPS = 200


@dataclass
class Row:
    """Samples one after the other. Those with the same long system prompt share it at the head of the row."""

    system: str | None
    tokens: list = field(default_factory=list)
    positions: list = field(default_factory=list)
    segments: list = field(default_factory=list)
    weights: list = field(default_factory=list)

    def add(self, tokens, first_position, segment, weights):
        self.tokens += tokens
        self.positions += range(first_position, first_position + len(tokens))
        self.segments += [segment] * len(tokens)
        self.weights += weights


class Packer:
    """Fills rows with whole samples. A batch is [rows, length] of tokens, positions, segments and loss weights."""

    def __init__(self, corpus, chat):
        self.corpus, self.chat = corpus, chat
        self.heads = {None: []} | {s: chat.message("system", s) for s in (TRIAGE_PROMPT, PLAN_PROMPT)}
        self.open = {length: [] for length in ROW_LENGTHS}

    def batches(self):
        for sample in self.corpus:
            system = sample.system if sample.system in self.heads else None
            head = self.heads[system]
            prompt = self.chat.prompt(sample.system, sample.user, sample.history)[len(head) :]
            answer = self.chat.answer(sample.answer)
            size = len(prompt) + len(answer)
            least = SHARING_LENGTH if head else 0
            length = next((n for n in ROW_LENGTHS if n >= least and len(head) + size <= n), None)
            if length is None:
                continue
            rows = self.open[length]
            row = next((r for r in rows if r.system == system and len(r.tokens) + size <= length), None)
            if row is None:
                row = Row(system)
                row.add(head, 0, model.SHARED, [0.0] * len(head))
                rows.append(row)
            # weights[i] is for predicting token i + 1.
            share = 0.0 if sample.task in ("triage", "log") else PROMPT_WEIGHT
            weights = [share] * (len(prompt) - 1) + [1.0] * len(answer) + [0.0]
            row.add(prompt + answer, len(head), len(row.tokens) + 1, weights)
            # The emptier rows stay open a while, so that small samples can fill the gaps.
            full = BATCH_TOKENS // length
            if len(rows) >= full + 6:
                rows.sort(key=lambda row: -len(row.tokens))
                yield arrays(rows[:full], length)
                del rows[:full]


def arrays(rows, length):
    def filled(name, dtype):
        return np.array([getattr(r, name) + [0] * (length - len(r.tokens)) for r in rows], dtype)

    tokens, weights = filled("tokens", np.int32), filled("weights", np.float32).reshape(-1)
    # Only the heaviest positions go through the output matrix: all answers, then prompt tokens by lot.
    noise = np.random.default_rng(int(tokens.sum())).random(weights.size) * 0.01
    chosen = np.argsort(-(weights + noise * (weights > 0)), kind="stable")[:LOSS_POSITIONS].astype(np.int32)
    targets = np.roll(tokens.reshape(-1), -1)[chosen]
    return tokens, filled("positions", np.int32), filled("segments", np.int32), chosen, targets, weights[chosen]


def loss_means(config, params, batch):
    tokens, positions, segments, chosen, targets, weights = batch
    h = model.hidden(config, params, tokens, positions, segments).reshape(-1, config.width)[chosen]
    scores = h @ params["token_embd"].T
    losses = jax.nn.logsumexp(scores, -1) - jnp.take_along_axis(scores, targets[:, None], 1)[:, 0]
    answer = weights == 1.0
    return (losses * weights).sum() / weights.sum(), (losses * answer).sum() / answer.sum()


def learning_rate(step, progress):
    """Warm up, stay, and fall to nothing over the last share of the steps: a run can be made longer or shorter."""
    return PEAK_RATE * min(1.0, (step + 1) / WARMUP_STEPS, max(0.0, 1 - progress) / DECAY_SHARE)


def optimizer():
    """Muon for the matrices of the layers, which needs a fifth fewer steps than AdamW here; AdamW for the rest.

    Its rate is 1: the true one comes as a factor with every step.
    """

    def matrices(params):
        return jax.tree.map(lambda x: optax.contrib.MuonDimensionNumbers(1, 2) if x.ndim == 3 else None, params)

    muon = optax.contrib.muon(
        1.0,
        weight_decay=0.1,
        weight_decay_mask=lambda params: jax.tree.map(lambda x: x.ndim == 3, params),
        adam_b2=0.98,
        consistent_rms=0.2,  # updates as large as Adam's, so that one rate fits both
        muon_weight_dimension_numbers=matrices,
    )
    return optax.chain(optax.clip_by_global_norm(1.0), muon)


def train(args):
    run = HERE / "run" / args.run
    run.mkdir(parents=True, exist_ok=True)
    config, chat, tx = model.Config(), Chat(), optimizer()
    gradients = jax.jit(jax.value_and_grad(functools.partial(loss_means, config), has_aux=True))

    # Muon adds products of matrices, which oneDNN refuses in one partition: the update is compiled without it.
    @functools.partial(jax.jit, donate_argnums=(0, 1), compiler_options={"xla_cpu_use_onednn": False})
    def update(params, state, grads, rate):
        changes, state = tx.update(grads, state, params)
        return optax.apply_updates(params, jax.tree.map(lambda x: rate * x, changes)), state

    params = model.init_params(config, jax.random.PRNGKey(args.seed))
    state, step, log = tx.init(params), 0, []
    checkpoint = run / "checkpoint.pkl"
    if checkpoint.exists():
        params, state, step, log = pickle.loads(checkpoint.read_bytes())
    # A resumed run goes on with fresh samples: the corpus has no end, so there is no place to return to.
    packer = Packer(Corpus(args.seed + 1000 * step, "train" if args.hold_out else "all"), chat)
    began = time.time() - (log[-1]["seconds"] if log else 0)
    losses = []
    for batch in packer.batches():
        rate = learning_rate(step, step / args.steps)
        if rate == 0:
            break
        (_, loss), grads = gradients(params, batch)
        params, state = update(params, state, grads, rate)
        losses.append(loss)
        step += 1
        if step % 50 == 0:
            entry = dict(step=step, tokens=step * BATCH_TOKENS, seconds=round(time.time() - began), loss=round(float(np.mean(losses)), 4))
            log.append(entry)
            losses = []
            print(entry, f"rate {rate:.5f}", flush=True)
        if step % CHECKPOINT_STEPS == 0:
            save(run, params, state, step, log, args)
    save(run, params, state, step, log, args)


def save(run, params, state, step, log, args):
    part = run / "checkpoint.part"
    part.write_bytes(pickle.dumps(jax.tree.map(np.asarray, (params, state)) + (step, log)))
    part.replace(run / "checkpoint.pkl")
    (run / "params.pkl").write_bytes(pickle.dumps(jax.tree.map(np.asarray, params)))
    record = dict(seed=args.seed, steps=step, parameters=sum(x.size for x in jax.tree.leaves(params)), batch_tokens=BATCH_TOKENS, log=log)
    (run / "train_log.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", default="main")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hold-out", action="store_true", help="leave the development wordings out")
    train(parser.parse_args())
