"""Losses: what they ignore, and what moves them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.compress.losses import (
    centroid_logits,
    centroids_of,
    distillation_loss,
    feature_loss,
)

ONE, OTHER = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))


@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_standardised_logits_say_only_what_is_above_what(scale: float, shift: float) -> None:
    loss = distillation_loss(ONE * scale + shift, ONE, 2.0, standardise=True)
    assert float(loss) == pytest.approx(0, abs=1e-4)


def test_plain_distillation_notices_the_scale_and_ignores_the_shift() -> None:
    assert float(distillation_loss(ONE + 3, ONE, 2.0)) == pytest.approx(0, abs=1e-5)
    assert float(distillation_loss(ONE * 3, ONE, 2.0)) > 0.1


def test_the_loss_of_features_is_of_their_direction() -> None:
    assert float(feature_loss(3 * ONE, ONE)) == pytest.approx(0, abs=1e-6)
    assert float(feature_loss(-ONE, ONE)) == pytest.approx(2, abs=1e-6)
    assert 0 < float(feature_loss(OTHER, ONE)) < 2


def test_features_are_nearest_to_their_own_centroid() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    features = torch.eye(3).repeat_interleave(2, 0) * 4 + 0.1
    centroids = centroids_of(features, labels, 3)
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(3))
    assert centroid_logits(features, centroids).argmax(1).tolist() == labels.tolist()


def test_a_class_without_features_is_nobodys() -> None:
    centroids = centroids_of(torch.eye(3), torch.tensor([0, 1, 1]), 4)
    assert centroid_logits(torch.eye(3), centroids).argmax(1).tolist() == [0, 1, 1]
