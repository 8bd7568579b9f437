"""Reads a BERT-like Hugging Face directory: config.json, model.safetensors, tokenizer.json.

Architecture, weights and tokeniser come out as data; transformers is never imported, and nothing
of the directory is run. The pooler is left behind and the mean of the tokens taken, as sentence
encoders do; the embedding of token type 0, the same everywhere, is added to the positions.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stillhouse.compress.architectures import described
from stillhouse.compress.encoder_layout import Encoder
from stillhouse.compress.texts import TextWindows
from stillhouse.entities import ArchitectureSpec
from stillhouse.errors import Invalid, UnsupportedFormat

WEIGHTS = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pt2", "*.pth", "*.pkl", "*.ckpt")
KEPT_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})  # cosine needs no norm
SHIFTED = frozenset({"roberta", "xlm-roberta"})  # their positions start after the padding's id

LAYER = {  # our names to theirs
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention.norm": "attention.output.LayerNorm",
    "feed_forward.first": "intermediate.dense",
    "feed_forward.second": "output.dense",
    "feed_forward.norm": "output.LayerNorm",
}
EMBEDDINGS = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm",
}
TYPES = "embeddings.token_type_embeddings.weight"


@dataclass(frozen=True, slots=True)
class TextModel:
    """What a directory holds; `weights` is a safetensors file of `architecture`."""

    architecture: ArchitectureSpec
    weights: bytes
    texts: TextWindows


class Config(BaseModel):
    """What of a config.json changes the function of an encoder; its other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_type: Literal["bert", "roberta", "xlm-roberta"]
    hidden_act: Literal["gelu"] = "gelu"
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    @property
    def first_position(self) -> int:
        return self.pad_token_id + 1 if self.model_type in SHIFTED else 0


def read_directory(folder: Path, max_tokens: int) -> TextModel:
    """The encoder in `folder` for texts of up to `max_tokens` tokens.

    Raises UnsupportedFormat for pickles and for encoders that compute something else, Invalid for
    numbers or tensors that do not fit together.
    """
    _check_pooling(folder)
    config = _config(folder)
    encoder = _encoder(config, max_tokens)
    found = dict(_tensors(_weights_file(folder), encoder, config))
    for tensor in encoder.tensors():
        if tuple(found[tensor.name].shape) != tensor.shape:
            raise Invalid(f"{tensor.name} is {tuple(found[tensor.name].shape)}, not {tensor.shape}")
    windows = TextWindows(_text(folder / "tokenizer.json"), max_tokens, config.pad_token_id)
    return TextModel(described("encoder", encoder), save(found), windows)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path.name} cannot be read: {type(error).__name__}") from None


def _config(folder: Path) -> Config:
    try:
        return Config.model_validate_json(_text(folder / "config.json"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "config.json"
        raise UnsupportedFormat(
            f"{where}: {first['msg']}; read are BERT-like encoders with GELU and absolute positions"
        ) from None


def _encoder(config: Config, max_tokens: int) -> Encoder:
    size, rest = divmod(config.hidden_size, max(1, config.num_attention_heads))
    if rest:
        raise Invalid(f"{config.hidden_size} hidden for {config.num_attention_heads} heads")
    if config.first_position + max_tokens > config.max_position_embeddings:
        raise Invalid(f"{config.max_position_embeddings} positions are fewer than {max_tokens}")
    try:
        return Encoder(
            vocabulary=config.vocab_size,
            positions=max_tokens,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            head_size=size,
            feed_forward=config.intermediate_size,
            layers=config.num_hidden_layers,
            epsilon=config.layer_norm_eps,
            pad=config.pad_token_id,
            features=config.hidden_size,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _check_pooling(folder: Path) -> None:
    """A sentence encoder says in two more files what follows the layers; Invalid if unreadable."""
    modules, pooling = folder / "modules.json", folder / "1_Pooling" / "config.json"
    try:
        kinds = (
            [m["type"].split(".")[-1] for m in json.loads(_text(modules))]
            if modules.exists()
            else []
        )
        means = not pooling.exists() or json.loads(_text(pooling)).get("pooling_mode_mean_tokens")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Invalid("modules.json or 1_Pooling/config.json is malformed") from None
    if foreign := set(kinds) - KEPT_MODULES:
        raise UnsupportedFormat(f"after its layers comes {', '.join(sorted(foreign))}: not read")
    if not means:
        raise UnsupportedFormat("it pools otherwise than by the mean of the tokens: not read")


def _weights_file(folder: Path) -> Path:
    path = folder / WEIGHTS
    if path.exists():
        return path
    if found := sorted(p.name for pattern in PICKLES for p in folder.glob(pattern)):
        raise UnsupportedFormat(
            f"{found[0]} is a pickle, which would run code as it is read: load it where you trust "
            f"it, and write {WEIGHTS} with save_pretrained(safe_serialization=True)"
        )
    raise Invalid(f"no {WEIGHTS}; weights in several files must be saved as one")


def _tensors(path: Path, encoder: Encoder, config: Config) -> Iterator[tuple[str, Tensor]]:
    """The encoder's tensors by our names, float32."""
    try:
        with safe_open(path, framework="pt") as file:
            held = _by_suffix(file.keys())
            if "classifier.weight" in held or "classifier.dense.weight" in held:
                raise UnsupportedFormat("a classifier behind a pooler; save its encoder alone")

            def read(name: str) -> Tensor:
                if name not in held:
                    raise Invalid(f"{WEIGHTS} has no {name}")
                value: Tensor = file.get_tensor(held[name]).float()
                return value.contiguous()

            for tensor in encoder.tensors():
                if tensor.name == "positions.weight":
                    rows = slice(config.first_position, config.first_position + encoder.positions)
                    yield tensor.name, read(_theirs(tensor.name))[rows] + read(TYPES)[0]
                elif tensor.name == "head.weight":
                    yield tensor.name, torch.eye(encoder.hidden)
                else:
                    yield tensor.name, read(_theirs(tensor.name))
    except (SafetensorError, OSError) as error:
        raise UnsupportedFormat(f"{WEIGHTS} is no safetensors file: {error}") from None


def _by_suffix(names: list[str]) -> dict[str, str]:
    """File names of tensors without the prefix of a model that has the encoder inside."""
    return {name.removeprefix("bert.").removeprefix("roberta."): name for name in names}


def _theirs(name: str) -> str:
    module, part = name.rsplit(".", 1)
    if module in EMBEDDINGS:
        return f"{EMBEDDINGS[module]}.{part}"
    _, number, inner = module.split(".", 2)
    return f"encoder.layer.{number}.{LAYER[inner]}.{part}"
