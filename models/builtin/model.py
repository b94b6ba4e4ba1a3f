"""A small qwen3 in jax: RMSNorm, QK norm, grouped queries, neox RoPE, SwiGLU, tied embeddings.

Query, key and value share one matrix, and so do gate and up: one product is faster than three, and on a CPU with
AMX it keeps XLA from adding two products in one oneDNN partition, which oneDNN refuses. export.py splits them.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

NORM_EPS = 1e-6
SHARED = -1  # the segment of a row that all others see


@dataclass(frozen=True)
class Config:
    vocab: int = 4096
    layers: int = 6
    width: int = 256
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 640
    rope_base: float = 10000.0
    context: int = 2048


def init_params(config, key):
    """Weights as {name: array}; those of the layers are stacked along a first axis."""
    c = config
    shapes = {
        "attn_qkv": (c.width, (c.heads + 2 * c.kv_heads) * c.head_dim),
        "attn_output": (c.heads * c.head_dim, c.width),
        "ffn_gate_up": (c.width, 2 * c.ffn),
        "ffn_down": (c.ffn, c.width),
    }
    # Layers that write to the residual stream start smaller, so that its variance does not grow with depth.
    shrink = {"attn_output": (2 * c.layers) ** -0.5, "ffn_down": (2 * c.layers) ** -0.5}
    keys = jax.random.split(key, len(shapes) + 1)
    layers = {
        name: jax.random.normal(k, (c.layers, *shape)) * shape[0] ** -0.5 * shrink.get(name, 1.0)
        for k, (name, shape) in zip(keys, shapes.items())
    }
    for name, size in {"attn_norm": c.width, "ffn_norm": c.width, "attn_q_norm": c.head_dim, "attn_k_norm": c.head_dim}.items():
        layers[name] = jnp.ones((c.layers, size))
    return {
        "token_embd": jax.random.normal(keys[-1], (c.vocab, c.width)) * 0.02,
        "output_norm": jnp.ones(c.width),
        "layers": layers,
    }


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + NORM_EPS) * weight


def linear(x, weight):
    """x @ weight as one 2-D product: oneDNN takes no gradients that contract two axes at once."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[-1])


def rope_angles(config, positions):
    inverse = config.rope_base ** (-jnp.arange(0, config.head_dim, 2) / config.head_dim)
    return positions[..., None] * inverse


def rope(x, angles):
    """Rotate halves (neox style). x: [batch, time, heads, head_dim], angles: [batch, time, head_dim / 2]."""
    cos, sin = jnp.cos(angles)[:, :, None], jnp.sin(angles)[:, :, None]
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attention(config, layer, x, angles, mask, cache=None):
    """Returns the output and the keys and values. With a cache, those are put in front of the new ones."""
    c = config
    batch, time, _ = x.shape
    qkv = linear(x, layer["attn_qkv"]).reshape(batch, time, -1, c.head_dim)
    q, k, v = jnp.split(qkv, [c.heads, c.heads + c.kv_heads], 2)
    q, k = rms_norm(q, layer["attn_q_norm"]), rms_norm(k, layer["attn_k_norm"])
    q, k = rope(q, angles), rope(k, angles)
    if cache is not None:
        keys, values, start = cache
        k = jax.lax.dynamic_update_slice(keys, k, (0, start, 0, 0))
        v = jax.lax.dynamic_update_slice(values, v, (0, start, 0, 0))
    group = c.heads // c.kv_heads
    # Queries of a group share keys: they are stacked along time, which keeps it one matrix product per kv head.
    q = q.reshape(batch, time, c.kv_heads, group, c.head_dim).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, c.kv_heads, group * time, c.head_dim) * c.head_dim**-0.5
    scores = jnp.matmul(q, k.transpose(0, 2, 3, 1)).reshape(batch, c.kv_heads, group, time, -1)
    weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e9), -1)
    out = jnp.matmul(weights.reshape(batch, c.kv_heads, group * time, -1), v.transpose(0, 2, 1, 3))
    out = out.reshape(batch, c.kv_heads, group, time, c.head_dim).transpose(0, 3, 1, 2, 4)
    return linear(out.reshape(batch, time, -1), layer["attn_output"]), (k, v)


def feed_forward(layer, x):
    gate, up = jnp.split(linear(x, layer["ffn_gate_up"]), 2, -1)
    return linear(jax.nn.silu(gate) * up, layer["ffn_down"])


def block(config, layer, x, angles, mask, cache=None):
    out, kv = attention(config, layer, rms_norm(x, layer["attn_norm"]), angles, mask, cache)
    x = x + out
    return x + feed_forward(layer, rms_norm(x, layer["ffn_norm"])), kv


def hidden(config, params, tokens, positions, segments):
    """States before the output matrix. Tokens see earlier tokens of their own segment and of the shared one only."""
    time = tokens.shape[1]
    causal = jnp.tril(jnp.ones((time, time), bool))
    mask = causal & ((segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == SHARED))
    angles = rope_angles(config, positions)
    # Unrolled, and with nothing kept for the gradients but the products: storing the rest costs more than making it.
    step = jax.checkpoint(lambda x, layer: block(config, layer, x, angles, mask)[0], policy=jax.checkpoint_policies.dots_saveable)
    x = params["token_embd"][tokens]
    for i in range(config.layers):
        x = step(x, jax.tree.map(lambda stack: stack[i], params["layers"]))
    return rms_norm(x, params["output_norm"])


def logits(config, params, tokens):
    """Logits of whole, unpacked rows."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return hidden(config, params, tokens, positions, jnp.zeros_like(tokens)) @ params["token_embd"].T
