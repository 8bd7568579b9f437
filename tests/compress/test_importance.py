"""Sorting channels: the function stays, the order changes."""

import numpy as np
import torch
from tiny import ARCHITECTURE, PRE, central_weights, recordings

from stillhouse.compress.arch import build, load_weights, weights_of
from stillhouse.compress.importance import sort_channels
from stillhouse.compress.measure import logits
from stillhouse.entities import ArchitectureSpec


def test_a_sorted_network_computes_the_same() -> None:
    model = load_weights(build(ARCHITECTURE), central_weights())
    x = recordings(5).windows(PRE)[0]
    before, stem = logits(model, x), weights_of(model)["stem.convolution.weight"]
    sort_channels(model, x)
    np.testing.assert_allclose(logits(model, x), before, atol=1e-5)
    after = weights_of(model)["stem.convolution.weight"]
    assert not np.array_equal(after, stem)
    np.testing.assert_array_equal(np.sort(after.ravel()), np.sort(stem.ravel()))


def test_images_are_sorted_alike() -> None:
    spec = ArchitectureSpec(
        id="resnet2d", kwargs={"channels1": 4, "channels2": 8, "rows": 8, "columns": 8}
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build(spec).eval()
    x = np.random.default_rng(0).standard_normal((20, 1, 64)).astype(np.float32)
    before, stem = logits(model, x), weights_of(model)["stem.convolution.weight"]
    sort_channels(model, x)
    np.testing.assert_allclose(logits(model, x), before, atol=1e-5)
    assert not np.array_equal(weights_of(model)["stem.convolution.weight"], stem)
