"""The client for asyncio: the same calls, awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx2

from stillhouse.entities import CentralModelSpec, DistillationJob, Role
from stillhouse.errors import StillhouseError
from stillhouse.sdk import calls
from stillhouse.sdk.calls import OVER, Call, Version
from stillhouse.sdk.events import BROKEN, Story
from stillhouse.sdk.sealing import digests, seal_files
from stillhouse.wire.client import TRIES, AsyncSignedClient
from stillhouse.wire.identity import Identity
from stillhouse.wire.membership import enrol_async
from stillhouse.wire.messages import JobStatus, StoryEvent

P = ParamSpec("P")
T = TypeVar("T")
POLL_S = 0.5


def sends(call: Callable[P, Call[T]]) -> Callable[Concatenate["AsyncStillhouse", P], Awaitable[T]]:
    """A coroutine method that sends the call and reads its answer."""

    async def method(self: "AsyncStillhouse", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.ask(call(*args, **kwargs))

    method.__name__, method.__doc__ = call.__name__, call.__doc__
    return method


class AsyncStillhouse:
    """One principal at one deployment; any number of tasks may use it."""

    def __init__(
        self,
        endpoints: Sequence[str],
        identity: Identity,
        role: Role,
        tries: int = TRIES,
        transport: httpx2.AsyncBaseTransport | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.http = AsyncSignedClient(endpoints, identity, transport=transport, tries=tries)
        self.role = role
        self._pause = pause
        self._identity = identity

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def ask(self, call: Call[T]) -> T:
        """Send any call."""
        headers = dict(call.headers)
        sent = (call.method, call.path, call.body, headers, call.query, call.key)
        return call.read((await self.http.send(*sent)).content)

    async def enrol(self) -> str:
        """Join (loopback development mode); this principal's id."""
        return (await enrol_async(self.http, self._identity, self.role)).principal_id

    endpoints = sends(calls.endpoints)
    anchors = sends(calls.anchors)
    create_profile = sends(calls.create_profile)
    profile = sends(calls.profile)
    profiles = sends(calls.profiles)
    replace_profile = sends(calls.replace_profile)
    delete_profile = sends(calls.delete_profile)
    submit = sends(calls.submit)
    plan_job = sends(calls.plan_job)
    jobs = sends(calls.jobs)
    status = sends(calls.status)
    graph = sends(calls.graph)
    explanation = sends(calls.explanation)
    cancel = sends(calls.cancel)
    dead_letters = sends(calls.dead_letters)
    replay = sends(calls.replay)
    add_keys = sends(calls.add_keys)
    revoke_keys = sends(calls.revoke_keys)
    models = sends(calls.models)
    versions = sends(calls.versions)
    version = sends(calls.version)
    set_alias = sends(calls.set_alias)
    alias = sends(calls.alias)

    async def all_jobs(self, **filters: str) -> AsyncIterator[DistillationJob]:
        """Every job that passes (the filters of `jobs`), newest first, page by page."""
        cursor: str | None = None
        while True:
            page = await self.ask(calls.jobs(**filters, cursor=cursor))  # type: ignore[arg-type]
            for job in page.jobs:
                yield job
            if (cursor := page.next_cursor) is None:
                return

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[StoryEvent]:
        """A job's story, live, until it is over; a lost connection is taken up where it broke.

        Unavailable if that fails again and again without a new event.
        """
        path, story = f"/distillation_jobs/{job_id}/events", Story(after)
        while True:
            why: Exception | None = None
            first = self.http.endpoints[0]
            try:
                async with self.http.stream(first, path, "", story.headers) as parts:
                    async for part in parts:
                        for event in story.feed(part):
                            yield event
                        if story.over:
                            return
            except BROKEN as error:
                why = error
            self.http.endpoints.append(self.http.endpoints.pop(0))
            await self._pause(story.broken(why))

    async def wait(self, job_id: str, timeout_s: float, poll_s: float = POLL_S) -> JobStatus:
        """The status once the job is over; TimeoutError after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (found := await self.status(job_id)).job.state not in OVER:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} is {found.job.state} after {timeout_s:g} s")
            await self._pause(poll_s)
        return found

    async def register(
        self,
        name: str,
        spec: CentralModelSpec,
        files: Mapping[str, bytes],
        heard: Callable[[float], None] = lambda _: None,
    ) -> Version:
        """Seal and upload a central model; `spec.files` is filled in here; `heard` gets shares."""
        sealed = seal_files(name, files, (await self.anchors()).cluster_key)
        version = await self.ask(calls.start_version(name, digests(spec, sealed)))
        whole, sent = sum(map(len, sealed.values())), 0
        for file, data in sealed.items():
            for part in calls.parts(name, version.version, file, data):
                await self.ask(part)
                sent += len(part.body or b"")
                heard(sent / whole)
        return await self.version(name, version.version)

    async def wait_available(
        self, version: Version, timeout_s: float, heard: Callable[[Version], None] = lambda _: None
    ) -> Version:
        """Until the system has measured it and built its family; `heard` gets each state."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = await self.version(version.name, version.version)
            heard(found)
            if found.state == "AVAILABLE":
                return found
            if found.state == "FAILED" or time.monotonic() > deadline:
                raise StillhouseError(f"{found.name}@{found.version} is {found.state}: {found.why}")
            await self._pause(POLL_S)
