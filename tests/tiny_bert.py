"""A BERT-like Hugging Face directory small enough to write in a test, with random weights."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tiny_tokenizer import TOKENIZER

HIDDEN, HEADS, INSIDE, LAYERS, VOCABULARY, POSITIONS = 8, 2, 12, 2, 7, 10
TOKENS = 6
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INSIDE,
    "max_position_embeddings": POSITIONS,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 0,
    "transformers_version": "4.8.2",
}

Arrays = dict[str, np.ndarray]


def weights() -> Arrays:
    """Random tensors of a BertModel by their names there, linear ones [outputs, inputs]."""
    rng, found = np.random.default_rng(1), {}

    def add(name: str, *shape: int) -> None:
        found[name] = rng.normal(0, 0.5, shape).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        add(f"{name}.weight", HIDDEN)
        add(f"{name}.bias", HIDDEN)

    add("embeddings.word_embeddings.weight", VOCABULARY, HIDDEN)
    add("embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
    add("embeddings.token_type_embeddings.weight", 2, HIDDEN)
    norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{i}" for i in range(LAYERS)):
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
        linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", INSIDE, HIDDEN)
        linear(f"{layer}.output.dense", HIDDEN, INSIDE)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", HIDDEN, HIDDEN)
    found["embeddings.position_ids"] = np.arange(POSITIONS)[None]
    return found


def write(folder: Path, tensors: Arrays | None = None, **changes: object) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "tokenizer.json").write_text(TOKENIZER)
    save_file(weights() if tensors is None else tensors, folder / "model.safetensors")
    return folder
