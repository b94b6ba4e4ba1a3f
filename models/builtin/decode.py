"""Greedy decoding of many prompts at once, for the evaluations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import model


def pad_length(n):
    return next(size for size in (64, 128, 256, 384, 512, 1024, 2048) if n <= size)


@functools.partial(jax.jit, static_argnums=(0, 4))
def decode_batch(config, params, tokens, lengths, limits):
    """tokens: [batch, prompt] padded on the right. Returns [batch, new] tokens, cut at the end by the caller."""
    new_max, end = limits
    batch, prompt = tokens.shape
    total = prompt + new_max
    shape = (config.layers, batch, total, config.kv_heads, config.head_dim)
    cache = (jnp.zeros(shape), jnp.zeros(shape))
    slots = jnp.arange(total)

    def run(tokens, positions, mask, cache, start):
        angles = model.rope_angles(config, positions)

        def step(x, layer_and_cache):
            layer, keys, values = layer_and_cache
            return model.block(config, layer, x, angles, mask, (keys, values, start))

        x, cache = jax.lax.scan(step, params["token_embd"][tokens], (params["layers"], *cache))
        return model.rms_norm(x, params["output_norm"]), cache

    positions = jnp.broadcast_to(jnp.arange(prompt), (batch, prompt))
    mask = jnp.broadcast_to(slots[None, None] <= jnp.arange(prompt)[None, :, None], (batch, prompt, total))
    x, cache = run(tokens, positions, mask, cache, 0)
    last = x[jnp.arange(batch), lengths - 1] @ params["token_embd"].T

    def more(state):
        n, _, _, _, done = state
        return (n < new_max) & ~done.all()

    def one(state):
        n, scores, cache, out, done = state
        token = jnp.argmax(scores, -1)
        out = out.at[:, n].set(token)
        done = done | (token == end)
        # Padding of shorter prompts stays masked out; new tokens live behind the longest prompt.
        mask = (slots[None] < lengths[:, None]) | ((slots[None] >= prompt) & (slots[None] <= prompt + n))
        x, cache = run(token[:, None], (lengths + n)[:, None], mask[:, None], cache, prompt + n)
        return n + 1, x[:, 0] @ params["token_embd"].T, cache, out, done

    out = jnp.full((batch, new_max), end)
    state = (0, last, cache, out, jnp.zeros(batch, bool))
    return jax.lax.while_loop(more, one, state)[3]


def generate(config, params, chat, prompts, new_max=160, batch=64):
    """Texts for token lists, in the order given."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    texts = [None] * len(prompts)
    for begin in range(0, len(order), batch):
        rows = order[begin : begin + batch]
        width = pad_length(max(len(prompts[i]) for i in rows))
        tokens = np.zeros((batch, width), np.int32)
        lengths = np.ones(batch, np.int32)
        for row, i in enumerate(rows):
            tokens[row, : len(prompts[i])] = prompts[i]
            lengths[row] = len(prompts[i])
        out = np.asarray(decode_batch(config, params, tokens, lengths, (new_max, chat.end)))
        for row, i in enumerate(rows):
            ids = out[row].tolist()
            texts[i] = chat.decode(ids[: ids.index(chat.end)] if chat.end in ids else ids)
    return texts
