"""The demo's data: who is who, and that no window stands on two sides of a split."""

import numpy as np
import pytest

from edge_sim.wrist import data

WRIST = data.read()


def test_the_recordings_are_those_of_the_readme() -> None:
    assert WRIST.recordings.samples.shape == (244_102, 6)
    assert len(WRIST.recordings) == 140
    assert len(WRIST.labels) == 7
    assert set(WRIST.arms) == {0, 1}


@pytest.mark.parametrize("seed", [0, 1, 11])
def test_people_are_disjoint(seed: int) -> None:
    who = data.people(seed)
    assert [len(some) for some in (who.central, who.public, who.clients)] == [5, 2, 3]
    assert sorted(who.central + who.public + who.clients) == list(range(1, 11))


def test_a_clients_three_sets_share_no_sample() -> None:
    for person in data.people(0).clients:
        client = data.client(WRIST, person, 0)
        used = np.zeros(len(WRIST.recordings.samples), int)
        for some in (client.train, client.validation, client.test):
            assert set(some.sources) == {person}
            assert set(some.labels) == set(range(7))
            for start, stop in some.spans:
                used[start:stop] += 1
        assert used.max() == 1


def test_a_second_lies_between_validation_and_test() -> None:
    client = data.client(WRIST, 1, 0)
    gaps = client.test.spans[:, 0] - client.validation.spans[:, 1]
    assert set(gaps) == {data.GUARD}


def test_the_left_wrist_is_seen_as_a_right_one() -> None:
    """Gravity's mean sign along x differs between the raw arms, and agrees once canonical."""
    means = [WRIST.recordings.samples[a:b].mean(axis=0) for a, b in WRIST.recordings.spans]
    left, right = (
        np.mean([m for m, arm in zip(means, WRIST.arms, strict=True) if arm == k], 0)
        for k in (0, 1)
    )
    assert np.linalg.norm(left - right) < np.linalg.norm(left * data.MIRROR - right)
