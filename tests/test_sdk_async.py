"""The asyncio client against the real API, in one event loop with it."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest
import tiny
from api_house import SPEC, URL
from fakes import CLUSTER, LocalBackend

from serve_app.app import create_app
from stillhouse.entities import DistillationJob, Role
from stillhouse.errors import Conflict, Invalid, StillhouseError
from stillhouse.sdk import AsyncStillhouse
from stillhouse.wire.identity import Identity
from stillhouse.wire.problems import PROBLEMS, error_of, problem_of
from stillhouse.wire.seal import open_artefact

FILES = {
    "weights": tiny.central_weights(),
    "training": tiny.recordings(1).to_parquet(),
    "transfer": tiny.recordings(2).unlabelled().to_parquet(),
    "evaluation": tiny.recordings(2).to_parquet(),
}
Story = Callable[[AsyncStillhouse, str], Awaitable[None]]


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


def lived(story: Story, role: Role = Role.CLIENT, backend: LocalBackend | None = None) -> None:
    """Run a story of an enrolled principal (client, its id) at a deployment of its own."""

    async def live() -> None:
        there = backend or LocalBackend()
        app = create_app(there, there.find, ("127.0.0.1:8700",), open_enrolment=True)
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        me = Identity.derive(b"me")
        async with AsyncStillhouse([URL], me, role, transport=transport, pause=at_once) as client:
            id = await client.enrol()
            assert id == me.id(role)
            await story(client, id)

    asyncio.run(live())


async def submitted(client: AsyncStillhouse, id: str) -> DistillationJob:
    profile = await client.create_profile(id, SPEC)
    return await client.submit(id, "wrist", profile.id)


def test_a_job_is_submitted_followed_to_its_end_and_listed() -> None:
    async def story(client: AsyncStillhouse, id: str) -> None:
        job = await submitted(client, id)
        assert (await client.jobs()).jobs == (job,)
        with pytest.raises(TimeoutError, match="ACCEPTED"):
            await client.wait(job.id, timeout_s=0)
        assert (await client.cancel(job.id)).state == "CANCELLED"
        assert (await client.wait(job.id, timeout_s=0)).job.state == "CANCELLED"
        told = [event async for event in client.events(job.id)]
        assert (told[0].event, told[-1].event) == ("JobSubmitted", "JobClosed")
        later = [event async for event in client.events(job.id, after=told[0].sequence)]
        assert later == told[1:]

    lived(story)


def test_all_jobs_goes_through_every_page_newest_first() -> None:
    async def story(client: AsyncStillhouse, id: str) -> None:
        jobs = [await submitted(client, id) for _ in range(5)]
        await client.cancel(jobs[0].id)
        first = await client.jobs(limit=2)
        assert (len(first.jobs), first.next_cursor is None) == (2, False)
        found = [job.id async for job in client.all_jobs(limit="2")]
        assert found == [job.id for job in reversed(jobs)]
        over = [job.id async for job in client.all_jobs(state="CANCELLED", limit="2")]
        assert over == [jobs[0].id]

    lived(story)


def test_the_same_key_gives_the_same_answer_and_does_nothing_twice() -> None:
    async def story(client: AsyncStillhouse, id: str) -> None:
        profile = await client.create_profile(id, SPEC, key="profile-of-mine-0001")
        assert await client.create_profile(id, SPEC, key="profile-of-mine-0001") == profile
        jobs = [
            await client.submit(id, "wrist", profile.id, key="a-job-of-mine-000001")
            for _ in range(2)
        ]
        assert jobs[0] == jobs[1]
        assert len((await client.jobs()).jobs) == 1
        with pytest.raises(Conflict):
            await client.submit(id, "other", profile.id, key="a-job-of-mine-000001")

    lived(story)


def test_a_model_arrives_sealed_and_its_upload_is_heard() -> None:
    backend, shares = LocalBackend(), list[float]()

    async def story(client: AsyncStillhouse, _: str) -> None:
        version = await client.register("wrist", tiny.SPEC, FILES, shares.append)
        heard: list[str] = []
        with pytest.raises(StillhouseError, match="EVALUATING"):
            await client.wait_available(version, 0, lambda found: heard.append(found.state))
        assert heard == ["EVALUATING"]

    lived(story, Role.OWNER, backend)
    for file, plain in FILES.items():
        sealed = backend.files["wrist", 1, file]
        assert open_artefact(sealed, CLUSTER, f"upload/wrist/{file}") == plain
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (len(FILES), 1.0)


def test_many_tasks_may_ask_at_once() -> None:
    async def story(client: AsyncStillhouse, id: str) -> None:
        jobs = await asyncio.gather(*(submitted(client, id) for _ in range(8)))
        found = {job.id async for job in client.all_jobs()}
        assert found == {job.id for job in jobs}

    lived(story)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_problem_comes_back_as_its_class(kind: type[StillhouseError]) -> None:
    error = error_of(problem_of(kind("why")))
    assert (type(error), str(error)) == (kind, "why")


def test_every_leaf_has_a_code_of_its_own_and_an_unknown_one_is_unavailable() -> None:
    codes = [row[1] for row in PROBLEMS.values()]
    assert len(set(codes)) == len(codes)
    unknown = problem_of(Invalid("why")).model_copy(update={"code": "newer"})
    assert str(error_of(unknown)) == "why"
    assert type(error_of(unknown)).__name__ == "Unavailable"
