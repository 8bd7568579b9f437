"""Encoders as modules: what padding, sorting and skipping do to what they say."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from stillhouse.compress.encoder import TextEncoder
from stillhouse.compress.encoder_layout import Encoder
from stillhouse.compress.importance import sort_channels
from stillhouse.compress.influence import rank_blocks, skipping
from stillhouse.entities import Student

SHAPE = Encoder(
    vocabulary=30,
    positions=8,
    hidden=12,
    heads=3,
    head_size=4,
    feed_forward=20,
    layers=3,
    features=12,
)


@pytest.fixture
def model() -> TextEncoder:
    """Random weights, norms and biases among them."""
    torch.manual_seed(3)
    made = TextEncoder(SHAPE)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return made.eval()


def texts(count: int = 6) -> torch.Tensor:
    """Ids of 3 to 8 tokens, padded."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 30, (count, 1, 8)).astype(np.float32)
    for row, length in zip(x, rng.integers(3, 9, count), strict=True):
        row[:, length:] = 0
    return torch.from_numpy(x)


def corner(model: TextEncoder, shape: Encoder) -> TextEncoder:
    """The student of `shape` with the first channels of the model's tensors."""
    whole, small = model.state_dict(), TextEncoder(shape)
    small.load_state_dict(
        {t.name: whole[t.name][tuple(map(slice, t.shape))] for t in shape.tensors()}
    )
    return small.eval()


@torch.no_grad()
def test_the_length_of_the_padding_changes_nothing(model: TextEncoder) -> None:
    x = texts()
    x[:, :, 5:] = 0
    torch.testing.assert_close(model(x[:, :, :5]), model(x))


@torch.no_grad()
def test_a_text_of_padding_alone_has_a_finite_embedding(model: TextEncoder) -> None:
    assert model(torch.zeros(1, 1, 8)).isfinite().all()


@torch.no_grad()
def test_texts_of_a_batch_do_not_see_each_other(model: TextEncoder) -> None:
    x = texts()
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


@torch.no_grad()
def test_sorting_moves_channels_and_changes_no_output(model: TextEncoder) -> None:
    x, before = texts(), copy.deepcopy(model)
    sort_channels(model, x.numpy())
    torch.testing.assert_close(model(x), before(x), atol=1e-4, rtol=1e-4)
    for name, moved in model.named_parameters():
        if name != "head.weight" and moved.ndim > 1:
            assert not torch.equal(moved, before.get_parameter(name)), name


@torch.no_grad()
def test_sorting_brings_the_heads_that_matter_to_the_front(model: TextEncoder) -> None:
    attention, size = model.layers["1"].attention, SHAPE.head_size
    attention.output.weight[:, :size] *= 1e-3  # nobody listens to the first head
    deaf = attention.value.weight[:size].abs().sum(1).sort().values
    sort_channels(model, texts().numpy())
    assert torch.allclose(attention.value.weight[-size:].abs().sum(1).sort().values, deaf)


def test_every_channel_axis_is_in_one_group(model: TextEncoder) -> None:
    groups = list(model.channel_groups())
    readers = [reader for group in groups for reader in group.readers]
    writers = [writer for group in groups for writer in group.writers]
    linears = {m for m in model.modules() if isinstance(m, nn.Linear)}
    assert len(readers) == len(set(readers)) == len(linears)
    assert set(readers) == linears
    norms_and_embeddings = {
        m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.Embedding)
    }
    assert set(writers) == (linears - {model.head}) | norms_and_embeddings
    assert len(writers) == len(set(writers))


@torch.no_grad()
def test_a_skipped_layer_is_a_student_without_it(model: TextEncoder) -> None:
    x, shallow = (
        texts(),
        SHAPE.ranked(((0, 2, 1),)).narrowed(Student(width=1, depths=(2,), bits=32)),
    )
    with skipping([model.layers["1"]]):
        skipped = model(x)
    torch.testing.assert_close(corner(model, shallow)(x), skipped)


@torch.no_grad()
def test_the_layer_that_does_least_is_ranked_last(model: TextEncoder) -> None:
    still = model.layers["1"]
    for linear in (still.attention.output, still.feed_forward.second):
        linear.weight.zero_()
        linear.bias.zero_()
    for norm in (
        still.attention.norm,
        still.feed_forward.norm,
        model.layers["0"].feed_forward.norm,
    ):
        norm.weight.fill_(1)
        norm.bias.zero_()
    ((*_, last),) = rank_blocks(model, SHAPE.rankings, texts().numpy(), embeds=True)
    assert last == 1


@torch.no_grad()
def test_a_corner_runs_and_gives_as_many_features(model: TextEncoder) -> None:
    narrow = SHAPE.narrowed(Student(width=0.5, depths=(2,), bits=8))
    assert corner(model, narrow)(texts()).shape == (6, 12)


def test_the_ladder_holds_everything_but_the_head_once(model: TextEncoder) -> None:
    frozen = [p for rung in model.ladder() for p in rung.parameters()]
    everything = {id(p) for p in model.parameters()} - {id(model.head.weight)}
    assert len(model.ladder()) == 1 + SHAPE.layers
    assert {id(p) for p in frozen} == everything
    assert len(frozen) == len(everything)
