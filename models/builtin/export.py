"""Writes a run's weights as GGUF, and its SHA-256 next to it: python export.py run/main/params.pkl fazai-builtin.gguf.

The same input gives the same bytes.
"""

import hashlib
import json
import pickle
import sys
from pathlib import Path

import gguf
import jax
import numpy as np

import model
from tokenizer import SPECIAL, Chat

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def layer_tensors(config, layers, n):
    """The tensors of layer n under llama.cpp's names, as [out, in]."""
    layer = {name: np.asarray(value[n]) for name, value in layers.items()}
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    q, k, v = np.split(layer.pop("attn_qkv"), [queries, queries + keys], 1)
    gate, up = np.split(layer.pop("ffn_gate_up"), 2, 1)
    layer |= dict(attn_q=q, attn_k=k, attn_v=v, ffn_gate=gate, ffn_up=up)
    for name, value in sorted(layer.items()):
        yield f"blk.{n}.{name}.weight", value.T if value.ndim == 2 else value


def tensors(config, params):
    yield "token_embd.weight", np.asarray(params["token_embd"])
    yield "output_norm.weight", np.asarray(params["output_norm"])
    for n in range(config.layers):
        yield from layer_tensors(config, params["layers"], n)


def write(config, params, chat, path):
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_name("fazai-builtin")
    writer.add_description("FazAI's small built-in model: triage, plans and answers for Linux operations")
    writer.add_size_label(f"{sum(x.size for x in jax.tree.leaves(params)) / 1e6:.1f}M")
    writer.add_license("MIT")
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(model.NORM_EPS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_tokenizer(writer, chat)
    for name, value in tensors(config, params):
        value = np.ascontiguousarray(value, np.float32)
        if value.ndim == 2:
            value = gguf.quantize(value, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, value, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer, chat):
    vocabulary = json.loads(chat.tokenizer.to_str())["model"]
    tokens = sorted(chat.tokenizer.get_vocab(), key=chat.tokenizer.get_vocab().get)
    types = [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in vocabulary["merges"]])
    writer.add_eos_token_id(chat.end)
    writer.add_pad_token_id(chat.end_of_text)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


if __name__ == "__main__":
    source, target = sys.argv[1:3]
    with open(source, "rb") as file:
        write(model.Config(), pickle.load(file), Chat(), target)
    target = Path(target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(target.name + ".sha256").write_text(f"{digest}  {target.name}\n")
