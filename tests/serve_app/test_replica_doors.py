"""Where the API listens, and where it refuses to."""

import anyio
import pytest
from ray.exceptions import GetTimeoutError

from actors.settings import ActorSettings
from cluster.ingress import Ingress
from serve_app.deployment import ApiSettings, check
from serve_app.doors import Doors
from stillhouse.errors import Forbidden

FIXED = "http://127.0.0.1:8700"


class KnownDoors(Doors):
    """Two replicas run; counts how often that was asked."""

    asked = 0
    away = False

    def ask(self) -> list[str]:
        self.asked += 1
        if self.away:
            raise GetTimeoutError
        return ["http://127.0.0.1:30000", "http://127.0.0.1:30001"]


def test_each_answer_names_another_replica_first_and_the_fixed_port_last() -> None:
    doors = KnownDoors("api", FIXED, "", ActorSettings(ingress="direct"))
    first, second = anyio.run(doors.urls), anyio.run(doors.urls)
    assert first[-1] == second[-1] == FIXED
    assert first[:-1] == (second[1], second[0])


def test_many_who_ask_at_once_are_one_question_to_the_controller() -> None:
    doors = KnownDoors("api", FIXED, "", ActorSettings(ingress="direct"))

    async def go() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(doors.urls)

    anyio.run(go)
    assert doors.asked == 1


def test_without_a_controller_what_it_said_last_is_told() -> None:
    doors = KnownDoors("api", FIXED, "", ActorSettings(ingress="direct"))
    before = anyio.run(doors.urls)
    doors.away, doors.fresh_s = True, 0.0
    assert sorted(anyio.run(doors.urls)) == sorted(before)
    assert doors.asked == 2


@pytest.mark.parametrize("ingress", ["proxy", "haproxy"])
def test_without_direct_ingress_there_is_one_door(ingress: Ingress) -> None:
    doors = ApiSettings(actors=ActorSettings(ingress=ingress)).doors
    assert anyio.run(doors.urls) == (FIXED,)


def test_replicas_ports_are_signed_for_with_direct_ingress_alone() -> None:
    direct = ActorSettings(ingress="direct", replica_port=40000)
    assert {"127.0.0.1:40000", "localhost:40099", "127.0.0.1:8700"} <= set(direct.authorities)
    assert "127.0.0.1:40100" not in direct.authorities
    assert len(ActorSettings(replica_port=40000).authorities) == 4


def test_what_tls_in_front_passes_on_as_host_is_signed_for() -> None:
    there = ActorSettings(public_authorities=("api.example.org",))
    assert "api.example.org" in there.authorities


def test_haproxy_listens_on_every_interface_and_is_refused_without_tls_in_front() -> None:
    with pytest.raises(Forbidden, match="behind_tls: true"):
        check(ApiSettings(actors=ActorSettings(ingress="haproxy")))
    check(ApiSettings(actors=ActorSettings(ingress="haproxy", behind_tls=True)))


def test_replicas_ports_are_never_opened_to_others() -> None:
    there = ActorSettings(ingress="direct", host="10.0.0.1", behind_tls=True)
    with pytest.raises(Forbidden, match="off loopback"):
        check(ApiSettings(actors=there))
