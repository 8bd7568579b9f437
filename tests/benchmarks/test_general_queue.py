"""The general queue runs the work that it is measured by: every job, in the order of its chain."""

import pytest

pytest.importorskip("procrastinate", reason="needs the extra `bench`")
psycopg = pytest.importorskip("psycopg", reason="needs the extra `bench`")

from benchmarks.general_queue import Tuning, measure_procrastinate  # noqa: E402  after the skip
from benchmarks.postgres import running  # noqa: E402  after the skip

pytestmark = pytest.mark.slow
STARTED = """
    SELECT (args->>'chain')::int AS chain, (args->>'place')::int
    FROM procrastinate_events JOIN procrastinate_jobs ON job_id = procrastinate_jobs.id
    WHERE type = 'started' AND status = 'succeeded' ORDER BY chain, procrastinate_events.id
"""


def test_every_job_of_every_chain_ends_in_order_on_a_durable_server() -> None:
    with running() as server:
        facts = server.facts()
        measure_procrastinate(1, server, Tuning(1, 1, 2), length=2)
        found = measure_procrastinate(2, server, Tuning(2, 2, 4), length=3)
        with psycopg.connect(server.dsn) as connection:
            started = connection.execute(STARTED).fetchall()
    assert started == [(chain, place) for chain in range(2) for place in range(3)]
    assert (facts["fsync"], facts["synchronous_commit"]) == ("on", "on")
    assert (found["jobs"], found["transitions"]) == (6, 6 * 3)
    assert not server.process.is_running()
