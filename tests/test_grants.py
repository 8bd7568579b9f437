"""Grants: opened are the acknowledged chunks and the next, for their client, while the job runs."""

from dataclasses import replace

import pytest
from story import ALICE, BOB
from test_shard_machine import delivery

from benchmarks.makers import SPEC
from stillhouse.entities import EdgeModelProfile, JobState
from stillhouse.errors import Gone, NotFound, TransferClosed
from stillhouse.grants import grant
from stillhouse.jobs import Job, Kind, State
from stillhouse.rounds import after_manifest
from stillhouse.rows import DistillationJobRow

PROFILE = EdgeModelProfile(
    id="prf-00000001-0000000000000001", client_id=ALICE.id, revision=1, spec=SPEC
)
STATES = (State.SUCCEEDED, State.WAITING_CLIENT, State.BLOCKED)  # one chunk is acknowledged
GRAPH = {
    node.id: node._replace(state=state)
    for node, state in zip(after_manifest(1, 3, 0), STATES, strict=False)
}
JOB = DistillationJobRow(
    "job-00000001-0000000000000001",
    ALICE.id,
    "wrist",
    PROFILE,
    0,
    1e9,
    state=JobState.RUNNING,
    graph=GRAPH,
)
ROW = replace(delivery(JOB, Job("r1.compress", Kind.COMPRESS, attempt=1), 3, 1), round=1)


@pytest.mark.parametrize("index", [0, 1])
def test_acknowledged_chunks_and_the_next_are_open(index: int) -> None:
    assert grant(ROW, JOB, ALICE, index, 0).chunk == ROW.chunks[index]


def test_a_chunk_before_its_turn_is_closed() -> None:
    with pytest.raises(TransferClosed, match="before 2"):
        grant(ROW, JOB, ALICE, 2, 0)


def test_another_client_and_a_chunk_that_is_not_there_look_the_same() -> None:
    for who, index in ((BOB, 0), (ALICE, 3), (ALICE, -1)):
        with pytest.raises(NotFound):
            grant(ROW, JOB, who, index, 0)


def test_nothing_is_granted_when_job_or_delivery_is_over() -> None:
    with pytest.raises(Gone):
        grant(ROW, replace(JOB, state=JobState.CANCELLED), ALICE, 0, 0)
    with pytest.raises(Gone):
        grant(ROW, JOB, ALICE, 0, ROW.expires_at)
