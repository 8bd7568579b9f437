"""A general durable queue at the same work: procrastinate on PostgreSQL, chains of dependent jobs.

A job does nothing but defer the next of its chain, as its last act, in a commit of its own; then
the worker commits that it succeeded. So no crash loses a chain, and none is slower for our
sake: the fastest of the settings that `measure` tries is used, statements commit by themselves
and connections are not checked before each use. It promises less than our graph: a job may be
fetched while the commit of its parent's success is under way.

A transition is a job's change of state in the queue's own story: deferred, started, succeeded.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from psycopg_pool import AsyncConnectionPool

from benchmarks.postgres import Server, running
from benchmarks.report import Measured, Value

CHAIN = 12  # jobs, each after the one before
LONGEST_S = 120.0  # a round that takes longer has stalled
ENDED = "SELECT count(*) FILTER (WHERE status = 'succeeded') AS ended FROM procrastinate_jobs"
STORY = "SELECT count(*) AS changes FROM procrastinate_events"


@dataclass(frozen=True, slots=True)
class Tuning:
    """Workers in this process, jobs that each has in hand, connections that they share."""

    workers: int
    concurrency: int
    connections: int


BEST = Tuning(workers=8, concurrency=2, connections=16)
TRIED = (
    Tuning(1, 8, 10),
    Tuning(1, 32, 32),
    Tuning(4, 8, 32),
    Tuning(8, 4, 16),
    BEST,
    Tuning(16, 4, 24),
)


def measure(long: bool) -> Measured:
    """Medians of each tuning over rounds that try them all, and the best of them."""
    rounds, chains = (7, 150) if long else (3, 50)
    with running() as server:
        facts = server.facts()
        rows = tuple(
            {"round": round, **facts, **measure_procrastinate(chains, server, tuning)}
            for round in range(rounds)
            for tuning in TRIED
        )
    medians = {
        f"workers_{each.workers}x{each.concurrency}_jobs_per_s": median(
            float(row["jobs_per_s"])
            for row in rows
            if (row["workers"], row["concurrency"]) == (each.workers, each.concurrency)
        )
        for each in TRIED
    }
    return Measured({**medians, "best_jobs_per_s": max(medians.values())}, rows)


def measure_procrastinate(
    chains: int, server: Server, tuning: Tuning = BEST, length: int = CHAIN
) -> dict[str, Value]:
    """One round in empty tables: `chains` chains at once, from the first deferral until the last
    job's success is durable; TimeoutError for a chain that stalls."""
    empty_tables(server)
    return asyncio.run(measured(chains, server, tuning, length))


def empty_tables(server: Server) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with App(connector=SyncPsycopgConnector(conninfo=server.dsn)).open() as app:
        app.schema_manager.apply_schema()


async def measured(chains: int, server: Server, tuning: Tuning, length: int) -> dict[str, Value]:
    app, jobs = application(server, tuning), chains * length
    step = define_step(app, length)
    async with app.open_async(), working(app, tuning):
        ours_s, theirs_s, start_s = time.process_time(), server.cpu_s(), time.perf_counter()
        await step.batch_defer_async(*({"chain": chain, "place": 0} for chain in range(chains)))
        async with asyncio.timeout(LONGEST_S):
            while await number(app, ENDED) < jobs:
                await asyncio.sleep(0.005)
        wall_s = time.perf_counter() - start_s
        changes = await number(app, STORY)
        return {
            "chains": chains,
            "length": length,
            "workers": tuning.workers,
            "concurrency": tuning.concurrency,
            "connections": tuning.connections,
            "jobs": jobs,
            "wall_s": wall_s,
            "jobs_per_s": jobs / wall_s,
            "transitions": changes,
            "transitions_per_s": changes / wall_s,
            "workers_cpu_s": time.process_time() - ours_s,
            "server_cpu_s": server.cpu_s() - theirs_s,
        }


def application(server: Server, tuning: Tuning) -> App:
    size = tuning.connections
    connector = PsycopgConnector(
        conninfo=server.dsn,
        configure=commit_each,
        pool_factory=unchecked,
        min_size=size,
        max_size=size,
    )
    return App(connector=connector)


def define_step(app: App, length: int) -> Any:
    """The task: a job of a chain."""

    @app.task(name="step")
    async def step(chain: int, place: int) -> None:
        if place + 1 < length:
            await step.defer_async(chain=chain, place=place + 1)

    return step


@asynccontextmanager
async def working(app: App, tuning: Tuning) -> AsyncIterator[None]:
    """Workers that listen for new jobs, and poll only for what a notification missed."""
    workers = [
        asyncio.create_task(
            app.run_worker_async(
                concurrency=tuning.concurrency,
                fetch_job_polling_interval=0.1,
                install_signal_handlers=False,
            )
        )
        for _ in range(tuning.workers)
    ]
    try:
        yield
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def commit_each(connection: psycopg.AsyncConnection[Any]) -> None:
    """Every statement of the queue is a transaction: BEGIN and COMMIT would be round trips."""
    await connection.set_autocommit(True)


def unchecked(**given: Any) -> AsyncConnectionPool:
    """Without the round trip that asks a connection whether it lives."""
    return AsyncConnectionPool(**{**given, "check": None})


async def number(app: App, query: Any) -> int:
    [value] = (await app.connector.execute_query_one_async(query)).values()
    return int(value)
