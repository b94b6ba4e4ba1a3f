"""Trains the built-in model: python train.py --run NAME [--tokens N] [--decay N]. Stopped runs resume.

Samples are made on the fly, packed into rows of three lengths, and never repeated. The loss counts the answer
fully and the prompt a little: the words of questions are worth learning, random addresses are not.
"""

import os

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
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

import model
from corpus import Corpus
from tokenizer import Chat

HERE = Path(__file__).parent
BATCH_TOKENS = 8192
ROW_LENGTHS = (256, 512, 2048)
LOSS_POSITIONS = 4096
PROMPT_WEIGHT = 0.1
PEAK_RATE = 3e-3
WARMUP_STEPS = 100
CHECKPOINT_STEPS = 200


class Packer:
    """Fills rows with whole samples. A batch is [rows, length] of tokens, positions, segments and loss weights."""

    def __init__(self, corpus, chat):
        self.corpus, self.chat = corpus, chat
        self.open = {length: [] for length in ROW_LENGTHS}

    def batches(self):
        for sample in self.corpus:
            prompt = self.chat.prompt(sample.system, sample.user, sample.history)
            answer = self.chat.answer(sample.answer)
            tokens = prompt + answer
            length = next((n for n in ROW_LENGTHS if len(tokens) <= n), None)
            if length is None:
                continue
            # weights[i] is for predicting token i + 1.
            weights = [PROMPT_WEIGHT] * (len(prompt) - 1) + [1.0] * len(answer) + [0.0]
            rows = self.open[length]
            self.place(rows, length, tokens, weights)
            # The last rows of a batch stay open a while, so that small samples can fill the gaps.
            if len(rows) > BATCH_TOKENS // length + 4:
                rows.sort(key=lambda row: -len(row[0]))
                full = BATCH_TOKENS // length
                yield self.arrays(rows[:full], length)
                del rows[:full]

    def place(self, rows, length, tokens, weights):
        row = next((r for r in rows if len(r[0]) + len(tokens) <= length), None)
        if row is None:
            row = ([], [], [], [])
            rows.append(row)
        row[0].extend(tokens)
        row[1].extend(range(len(tokens)))
        row[2].extend([row[2][-1] + 1 if row[2] else 1] * len(tokens))
        row[3].extend(weights)

    def arrays(self, rows, length):
        parts = []
        for field, dtype in enumerate((np.int32, np.int32, np.int32, np.float32)):
            array = np.zeros((len(rows), length), dtype)
            for n, row in enumerate(rows):
                array[n, : len(row[field])] = row[field]
            parts.append(array)
        tokens, positions, segments, weights = parts
        # Only the heaviest positions go through the output matrix: all answers, then prompt tokens by lot.
        flat = weights.reshape(-1)
        noise = np.random.default_rng(int(tokens.sum())).random(flat.size) * 0.01
        chosen = np.argsort(-(flat + noise * (flat > 0)), kind="stable")[:LOSS_POSITIONS].astype(np.int32)
        targets = np.roll(tokens.reshape(-1), -1)[chosen]
        return tokens, positions, segments, chosen, targets, flat[chosen]


def loss_sums(config, params, batch):
    tokens, positions, segments, chosen, targets, weights = batch
    h = model.hidden(config, params, tokens, positions, segments).reshape(-1, config.width)[chosen]
    scores = h @ params["token_embd"].T
    losses = jax.nn.logsumexp(scores, -1) - jnp.take_along_axis(scores, targets[:, None], 1)[:, 0]
    answer = weights == 1.0
    return (losses * weights).sum() / weights.sum(), (losses * answer).sum() / answer.sum()


def schedule(steps, decay_steps):
    """Warm up, stay, and fall to nothing over the last steps: a run can be made longer without starting again."""

    def rate(step):
        return PEAK_RATE * jnp.minimum(1.0, jnp.minimum((step + 1) / WARMUP_STEPS, (steps - step) / decay_steps))

    return rate


def optimizer(rate):
    """Muon for the matrices of the layers, which needs a fifth fewer steps than AdamW here; AdamW for the rest."""

    def matrices(params):
        return jax.tree.map(lambda x: optax.contrib.MuonDimensionNumbers(1, 2) if x.ndim == 3 else None, params)

    muon = optax.contrib.muon(
        rate,
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
    config, chat = model.Config(), Chat()
    steps = args.tokens // BATCH_TOKENS
    tx = optimizer(schedule(steps, args.decay // BATCH_TOKENS))
    gradients = jax.jit(jax.value_and_grad(functools.partial(loss_sums, config), has_aux=True))

    # Muon adds products of matrices, which oneDNN refuses in one partition: the update is compiled without it.
    @functools.partial(jax.jit, donate_argnums=(0, 1), compiler_options={"xla_cpu_use_onednn": False})
    def update(params, state, grads):
        changes, state = tx.update(grads, state, params)
        return optax.apply_updates(params, changes), state

    params = model.init_params(config, jax.random.PRNGKey(args.seed))
    state, step, log = tx.init(params), 0, []
    checkpoint = run / "checkpoint.pkl"
    if checkpoint.exists():
        params, state, step, log = pickle.loads(checkpoint.read_bytes())
    # A resumed run goes on with fresh samples: the corpus has no end, so there is no place to return to.
    packer = Packer(Corpus(args.seed + 1000 * step, "train" if args.hold_out else "all"), chat)
    began, losses = time.time(), []
    spent = log[-1]["seconds"] if log else 0
    for batch in packer.batches():
        (_, loss), grads = gradients(params, batch)
        params, state = update(params, state, grads)
        losses.append(loss)
        step += 1
        if step % 50 == 0:
            seconds = spent + time.time() - began
            entry = dict(step=step, tokens=step * BATCH_TOKENS, loss=round(float(np.mean(losses)), 4), seconds=round(seconds))
            losses = []
            log.append(entry)
            rate = (step * BATCH_TOKENS - (log[-2]["tokens"] if len(log) > 1 else 0)) / max(1, seconds - (log[-2]["seconds"] if len(log) > 1 else 0))
            print(entry, f"{rate:.0f} tokens/s", flush=True)
        if step % CHECKPOINT_STEPS == 0 or step == steps:
            save(run, params, state, step, log, args)
        if step == steps:
            return


def save(run, params, state, step, log, args):
    part = run / "checkpoint.part"
    part.write_bytes(pickle.dumps(jax.tree.map(np.asarray, (params, state)) + (step, log)))
    part.replace(run / "checkpoint.pkl")
    (run / "params.pkl").write_bytes(pickle.dumps(jax.tree.map(np.asarray, params)))
    record = dict(seed=args.seed, parameters=sum(x.size for x in jax.tree.leaves(params)), batch_tokens=BATCH_TOKENS, log=log)
    (run / "train_log.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", default="main")
    parser.add_argument("--tokens", type=int, default=30_000_000)
    parser.add_argument("--decay", type=int, default=6_000_000, help="tokens at the end over which the rate falls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hold-out", action="store_true", help="leave the development wordings out")
    train(parser.parse_args())
