"""Ray's processes get what the ingress takes; a cluster that lacks it is refused, by name."""

from pathlib import Path

import pytest

from cluster.ingress import REPLICA_PORTS, check_environment, check_running, environment
from cluster.ingress import private_files as files
from stillhouse.errors import Conflict


def test_the_proxy_needs_nothing_and_suits_every_cluster() -> None:
    assert environment("proxy", 30000) == {}
    check_environment({}, {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"})


def test_replicas_get_a_range_of_ports_and_a_dead_ones_port_at_once() -> None:
    wanted = environment("direct", 40000)
    assert wanted["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    assert wanted["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"] == "40000"
    assert wanted["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] == str(40000 + REPLICA_PORTS)
    assert wanted["RAY_SERVE_PORT_QUARANTINE_S"] == "0"


def test_haproxy_keeps_the_quarantine_and_has_files_of_its_own() -> None:
    wanted = environment("haproxy", 30000)
    assert wanted["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert "RAY_SERVE_PORT_QUARANTINE_S" not in wanted
    folder = Path("/private")
    assert all(value.startswith("/private") for value in files("haproxy", folder).values())
    assert len(files("haproxy", folder)) == 4
    assert files("direct", folder) == files("proxy", folder) == {}


def test_a_process_that_lacks_a_variable_is_refused_with_its_name_and_value() -> None:
    wanted = environment("direct", 30000)
    check_environment(wanted, {**wanted, "HOME": "/"})
    with pytest.raises(Conflict, match="RAY_SERVE_PORT_QUARANTINE_S=0, or set ingress: proxy"):
        check_environment(wanted, {**wanted, "RAY_SERVE_PORT_QUARANTINE_S": "150"})


@pytest.mark.slow
def test_a_running_cluster_that_was_started_for_the_proxy_is_refused(ray_cluster: None) -> None:
    check_running(environment("proxy", 30000))
    with pytest.raises(Conflict, match="RAY_SERVE_THROUGHPUT_OPTIMIZED=1"):
        check_running(environment("direct", 30000))
