"""BERT-like directories: what is read, against the same network in plain numpy, and what is not."""

import json
from collections.abc import Callable
from math import erf
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load
from tiny_bert import HEADS, HIDDEN, LAYERS, TOKENS, Arrays, weights, write

from stillhouse.compress.architectures import network
from stillhouse.compress.encoder import TextEncoder
from stillhouse.compress.encoder_layout import Encoder
from stillhouse.compress.huggingface import TextModel, read_directory
from stillhouse.errors import Invalid, UnsupportedFormat

IDS = np.array([[2, 4, 3, 0, 0, 0], [6, 5, 5, 1, 2, 3]], np.float32)

Change = Callable[[Path], object]


def embedded(w: Arrays, ids: np.ndarray, first: int = 0, pad: int = 0) -> np.ndarray:
    """The mean of one text's last hidden states, straight from the papers (1810.04805)."""
    ids = ids[ids != pad].astype(int)

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][first : first + len(ids)]
    x = norm("embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in (f"encoder.layer.{i}" for i in range(LAYERS)):
        query, key, value = (
            linear(f"{layer}.attention.self.{part}", x).reshape(len(ids), HEADS, -1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(np.einsum("qhs,khs->hqk", query, key) / np.sqrt(query.shape[2]))
        seen = np.einsum("hqk,khs->qhs", scores / scores.sum(2, keepdims=True), value)
        attention = linear(f"{layer}.attention.output.dense", seen.reshape(len(ids), -1))
        x = norm(f"{layer}.attention.output.LayerNorm", x + attention)
        inside = linear(f"{layer}.intermediate.dense", x)
        inside = inside * (1 + np.vectorize(erf)(inside / np.sqrt(2))) / 2
        x = norm(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", inside))
    return x.mean(0)


@torch.no_grad()
def outputs(model: TextModel, ids: np.ndarray = IDS) -> np.ndarray:
    encoder = network(model.architecture)
    assert isinstance(encoder, Encoder)
    module = TextEncoder(encoder).eval()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in load(model.weights).items()})
    return module(torch.from_numpy(ids[:, None])).numpy()


def test_a_directory_computes_what_numpy_does(tmp_path: Path) -> None:
    expected = np.stack([embedded(weights(), text) for text in IDS])
    found = outputs(read_directory(write(tmp_path), TOKENS))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_prefix_and_half_precision_are_read_too(tmp_path: Path) -> None:
    tensors = {
        f"bert.{k}": v.astype(np.float16) if v.dtype == np.float32 else v
        for k, v in weights().items()
    }
    found = read_directory(write(tmp_path, tensors), TOKENS)
    expected = np.stack([embedded(weights(), text) for text in IDS])
    assert {v.dtype for v in load(found.weights).values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(outputs(found), expected, atol=0.02)


def test_positions_of_roberta_start_after_its_padding(tmp_path: Path) -> None:
    ids = np.where(IDS == 1, 6, IDS)
    ids = np.where(ids == 0, 1, ids)  # its padding is 1
    folder = write(tmp_path, model_type="roberta", pad_token_id=1)
    expected = np.stack([embedded(weights(), text, first=2, pad=1) for text in ids])
    np.testing.assert_allclose(outputs(read_directory(folder, TOKENS), ids), expected, atol=1e-5)


def test_the_tokeniser_comes_with_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="the extra `text`")
    windows = read_directory(write(tmp_path), TOKENS).texts
    assert windows.preprocessing.window == TOKENS
    assert windows.ids(["the still house"]).tolist() == [[2, 3, 4, 0, 0, 0]]


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "gpt2"},
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"hidden_size": "many"},
    ],
)
def test_an_encoder_that_computes_something_else_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(UnsupportedFormat, match=next(iter(changes))):
        read_directory(write(tmp_path, **changes), TOKENS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_attention_heads": 3}, "heads"),
        ({"max_position_embeddings": 5}, "positions"),
        ({"num_hidden_layers": 3}, "encoder.layer.2"),
        ({"intermediate_size": 13}, "feed_forward"),
        ({"vocab_size": 0}, "vocabulary"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(Invalid, match=reason):
        read_directory(write(tmp_path, **changes), TOKENS)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pt2"])
def test_a_pickle_is_refused_with_the_reason_and_never_read(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    with pytest.raises(UnsupportedFormat, match=rf"{name} is a pickle.*save_pretrained"):
        read_directory(tmp_path, TOKENS)


def classifies(folder: Path) -> None:
    write(folder, weights() | {"classifier.weight": np.zeros((2, HIDDEN), np.float32)})


def pools_the_first_token(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')


def goes_through_another_layer(folder: Path) -> None:
    kinds = [{"type": f"sentence_transformers.models.{k}"} for k in ("Transformer", "Dense")]
    (folder / "modules.json").write_text(json.dumps(kinds))


def is_no_safetensors_file(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04N.")


@pytest.mark.parametrize(
    "change",
    [classifies, pools_the_first_token, goes_through_another_layer, is_no_safetensors_file],
)
def test_what_would_change_the_embedding_is_refused(tmp_path: Path, change: Change) -> None:
    change(write(tmp_path))
    with pytest.raises(UnsupportedFormat):
        read_directory(tmp_path, TOKENS)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).unlink()
    with pytest.raises(Invalid, match=name):
        read_directory(tmp_path, TOKENS)
