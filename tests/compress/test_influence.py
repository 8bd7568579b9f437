"""Ranking blocks: those without which the network says the same go first."""

import numpy as np
import pytest
import torch
from tiny import PRE, recordings

from stillhouse.compress.arch import build
from stillhouse.compress.architectures import network
from stillhouse.compress.influence import divergence, rank_blocks, skipping
from stillhouse.entities import ArchitectureSpec

SPEC = ArchitectureSpec(
    id="resnet1d",
    kwargs={"inputs": 3, "classes": 3, "channels1": 4, "channels2": 8, "blocks1": 4, "kernel": 3},
)
NATURAL = network(SPEC).rankings
X = recordings(5).windows(PRE)[0]


def quiet(*blocks: tuple[int, int]) -> torch.nn.Module:
    """A network in which these blocks of (stage, number) add nothing to what they are given."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(SPEC).eval()
    with torch.no_grad():
        for stage, number in blocks:
            norm = model.stages[stage][str(number)].second.norm
            norm.weight.zero_()
            norm.bias.zero_()
    return model


def test_blocks_that_say_nothing_are_the_first_to_go() -> None:
    first, _ = rank_blocks(quiet((0, 1), (0, 3)), NATURAL, X, embeds=False)
    assert first[:2] == (0, 2)
    assert set(first[2:]) == {1, 3}


def test_what_changes_the_channels_is_never_left_out() -> None:
    for ranking in rank_blocks(quiet((0, 0), (1, 0)), NATURAL, X, embeds=False):
        assert ranking[0] == 0
        assert sorted(ranking) == list(range(len(ranking)))


def test_skipping_a_quiet_block_changes_nothing_and_ends_with_the_context() -> None:
    model, x = quiet((0, 2)), torch.from_numpy(X)
    blocks = model.stage_blocks()
    before = model(x)
    with skipping([blocks[0][2]]):
        torch.testing.assert_close(model(x), before)
    with skipping([blocks[0][1]]):
        assert not torch.allclose(model(x), before)
    torch.testing.assert_close(model(x), before)


@pytest.mark.parametrize("embeds", [True, False])
def test_a_divergence_is_zero_from_itself_and_positive_from_others(embeds: bool) -> None:
    one, other = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 8, 3)))
    assert divergence(one, one, embeds=embeds) == pytest.approx(0, abs=1e-9)
    assert divergence(one, other, embeds=embeds) > 0.1
