"""Modules and their weights: the same tensors as the layout says, and no foreign bytes run."""

import io

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from tiny import ARCHITECTURE, GRID, central_weights

from stillhouse.compress.arch import build, load_weights, to_safetensors, weights_of
from stillhouse.compress.architectures import network
from stillhouse.compress.foreign import foreign
from stillhouse.errors import Invalid, UnsupportedFormat


@pytest.mark.parametrize("point", [None, *GRID.shapes()], ids=str)
def test_a_module_has_exactly_the_tensors_of_its_layout(point) -> None:
    layout = {t.name: t.shape for t in network(ARCHITECTURE, point).tensors()}
    assert {k: v.shape for k, v in weights_of(build(ARCHITECTURE, point)).items()} == layout


def test_weights_survive_safetensors() -> None:
    model = load_weights(build(ARCHITECTURE), central_weights())
    assert to_safetensors(model) == central_weights()


def test_a_pickle_is_an_unsupported_format() -> None:
    with pytest.raises(UnsupportedFormat):
        load_weights(build(ARCHITECTURE), b"\x80\x04cos\nsystem\n.")


@pytest.mark.parametrize("old", [True, False], ids=["bare pickle", "zip archive"])
def test_what_torch_saves_is_refused_unread_and_with_the_reason(old: bool) -> None:
    sink = io.BytesIO()
    torch.save(build(ARCHITECTURE).state_dict(), sink, _use_new_zipfile_serialization=not old)
    with pytest.raises(UnsupportedFormat, match=r"pickle|\.pt2"):
        load_weights(build(ARCHITECTURE), sink.getvalue())
    assert "safetensors" in str(foreign(sink.getvalue()))


def test_nothing_is_said_against_safetensors() -> None:
    assert foreign(central_weights()) is None


def edited(**changes: np.ndarray | None) -> bytes:
    tensors = load(central_weights()) | {k.replace("_", "."): v for k, v in changes.items()}
    return save({k: v for k, v in tensors.items() if v is not None})


@pytest.mark.parametrize(
    "data",
    [
        edited(head_bias=None),
        edited(extra=np.zeros(1, np.float32)),
        edited(head_bias=np.zeros(4, np.float32)),
        edited(head_bias=np.zeros(3, np.float64)),
        edited(head_bias=np.full(3, np.nan, np.float32)),
        edited(head_bias=np.zeros(1 << 20, np.float32)),
    ],
    ids=["missing", "extra", "shape", "type", "not a number", "too many bytes"],
)
def test_weights_of_another_model_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        load_weights(build(ARCHITECTURE), data)


def test_the_network_maps_windows_to_logits_of_each_class() -> None:
    assert build(ARCHITECTURE)(torch.zeros(2, 3, 16)).shape == (2, 3)
