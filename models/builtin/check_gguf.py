"""Checks a GGUF: python check_gguf.py fazai-builtin.gguf run/NAME/params.pkl.

1. Its tensors, dequantised, give nearly the logits of the trained weights.
2. If llama-cpp-python is there: llama.cpp makes the same tokens of every text, and writes the same answers greedily.
"""

import train  # first: it sets XLA up for the CPU

import pickle
import sys

import gguf
import jax.numpy as jnp
import numpy as np

import model
from corpus import Corpus
from decode import generate
from tokenizer import Chat

ODD_TEXTS = ["olá, como está?", "naïve café ☕ 你好 мир", "a\tb\r\n\r\n  c   d", "1234567890 3.14", "it's we'll I'D", "\u00a0\u2003x", "emoji 👩‍💻🔥", "{\"a\":[1,2]}\n\n\n", "   leading", "trailing   ", "مرحبا", "e\u0301 combined", "\x16\x03\x01"]


def read_params(config, path):
    """The weights of a GGUF in the shape that model.py wants."""
    found = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}

    def stack(*names):
        parts = [[found[f"blk.{n}.{name}.weight"] for name in names] for n in range(config.layers)]
        return jnp.asarray(np.stack([np.concatenate(p).T if p[0].ndim == 2 else p[0] for p in parts]))

    layers = {name: stack(name) for name in ("attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm", "attn_output", "ffn_down")}
    layers |= {"attn_qkv": stack("attn_q", "attn_k", "attn_v"), "ffn_gate_up": stack("ffn_gate", "ffn_up")}
    return {"token_embd": jnp.asarray(found["token_embd.weight"]), "output_norm": jnp.asarray(found["output_norm.weight"]), "layers": layers}


def check_logits(config, trained, stored, chat, samples):
    worst, agreed, count = 0.0, 0, 0
    for sample in samples:
        tokens = jnp.asarray([chat.prompt(sample.system, sample.user, sample.history) + chat.answer(sample.answer)])
        a, b = model.logits(config, trained, tokens), model.logits(config, stored, tokens)
        worst = max(worst, float(jnp.abs(a - b).max()))
        agreed += int((a.argmax(-1) == b.argmax(-1)).sum())
        count += tokens.shape[1]
    print(f"logits: largest difference {worst:.3f}, the same best token in {agreed} of {count} places")


def check_llama(path, config, stored, chat, samples):
    try:
        import llama_cpp
    except ImportError:
        print("llama-cpp-python is not installed: no comparison with llama.cpp")
        return
    # ggml's AMX kernels (0.3.36) die of an illegal instruction on some virtual machines: use the plain ones.
    defaults = llama_cpp.llama_cpp.llama_model_default_params()
    defaults.use_extra_bufts = False
    llama_cpp.llama_cpp.llama_model_default_params = lambda: defaults
    llama = llama_cpp.Llama(path, n_ctx=config.context, verbose=False, n_threads=2)
    texts = [s.user for s in samples] + ODD_TEXTS
    different = [t for t in texts if llama.tokenize(t.encode(), add_bos=False, special=False) != chat.encode(t)]
    print(f"tokens: {len(texts) - len(different)} of {len(texts)} texts are cut alike", *different[:3])
    prompts = [chat.prompt(s.system, s.user, s.history) for s in samples]
    same = 0
    for prompt, expected in zip(prompts, generate(config, stored, chat, prompts)):
        llama.reset()
        ids = []
        for token in llama.generate(prompt, temp=0.0, repeat_penalty=1.0):
            if token == chat.end or len(ids) == 160:
                break
            ids.append(token)
        same += chat.decode(ids) == expected
    print(f"greedy answers: {same} of {len(prompts)} are the same")


if __name__ == "__main__":
    file, run = sys.argv[1:3]
    settings, tokens = model.Config(), Chat()
    with open(run, "rb") as weights:
        original = pickle.load(weights)
    mine = read_params(settings, file)
    some = [s for s in Corpus(5).take("answer", 60) + Corpus(6).take("triage", 60) + Corpus(7).take("plan", 60)]
    check_logits(settings, original, mine, tokens, some[::10])
    check_llama(file, settings, mine, tokens, some)
