"""Writes minilm.json: vectors of all-MiniLM-L6-v2 by a second, plain implementation in float64.

    pip install numpy safetensors tokenizers && python3 minilm.py MODEL_DIRECTORY > minilm.json
"""

import json
import math
import sys

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TEXTS = [
    "This is an example sentence",
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "lsblk lists information about all available or the specified block devices.",
    "Não há espaço em disco: o journal do systemd cresceu demais.",
    "x",
    "the kernel kills the process that takes the most memory " * 60,
]
HEADS, LAYERS, TOKENS_MAX = 12, 6, 256
erf = np.vectorize(math.erf)


def norm(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * weights[name + ".weight"] + weights[name + ".bias"]


def linear(x, weights, name):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def encode(ids, weights):
    at = "embeddings."
    x = weights[at + "word_embeddings.weight"][ids]
    x = x + weights[at + "position_embeddings.weight"][: len(ids)]
    x = norm(x + weights[at + "token_type_embeddings.weight"][0], weights, at + "LayerNorm")
    size = x.shape[1] // HEADS
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        split = lambda y: y.reshape(len(ids), HEADS, size).transpose(1, 0, 2)
        q, k, v = (
            split(linear(x, weights, at + "attention.self." + name))
            for name in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(size)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        y = (scores @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        y = linear(y, weights, at + "attention.output.dense")
        x = norm(x + y, weights, at + "attention.output.LayerNorm")
        y = linear(x, weights, at + "intermediate.dense")
        y = y * 0.5 * (1 + erf(y / math.sqrt(2)))
        y = linear(y, weights, at + "output.dense")
        x = norm(x + y, weights, at + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def main():
    directory = sys.argv[1]
    weights = load_file(directory + "/model.safetensors")
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    tokenizer = Tokenizer.from_file(directory + "/tokenizer.json")
    tokenizer.enable_truncation(TOKENS_MAX)
    tokenizer.no_padding()
    vectors = [encode(tokenizer.encode(text).ids, weights) for text in TEXTS]
    lines = [
        json.dumps({"text": text, "vector": [round(float(x), 6) for x in vector]})
        for text, vector in zip(TEXTS, vectors)
    ]
    print("[\n" + ",\n".join(lines) + "\n]")


main()
