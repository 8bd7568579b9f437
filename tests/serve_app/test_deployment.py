"""The Serve application: what it refuses, what it imports, and that its YAML says what it takes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from pydantic import ValidationError

from actors.settings import ActorSettings
from configs.settings import Settings
from serve_app import deployment
from serve_app.deployment import ApiSettings, Mounted, check
from stillhouse.errors import Forbidden

SERVE_YAML = Path(deployment.__file__).parents[1] / "configs" / "serve.yaml"


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.org"])
def test_a_port_that_others_reach_enrols_nobody_by_himself(host: str) -> None:
    there = ActorSettings(host=host)
    with pytest.raises(Forbidden, match="open_enrolment"):
        check(ApiSettings(actors=there, open_enrolment=True))
    check(ApiSettings(actors=there))


def test_a_misspelt_setting_is_an_error() -> None:
    with pytest.raises(ValidationError, match="replica"):
        ApiSettings.model_validate({"replica": 3})


def test_serve_yaml_names_the_builder_and_settings_that_it_takes() -> None:
    document: Any = yaml.safe_load(SERVE_YAML.read_text())
    [application] = document["applications"]
    module, _, name = application["import_path"].partition(":")
    settings = ApiSettings.model_validate(application["args"])
    assert (module, getattr(deployment, name)) == (deployment.__name__, deployment.app)
    assert document["http_options"]["host"] == settings.actors.host
    assert document["http_options"]["port"] == settings.actors.api_port
    check(settings)


def test_serve_yaml_and_cluster_yaml_name_the_same_actors_with_an_absolute_state() -> None:
    [application] = yaml.safe_load(SERVE_YAML.read_text())["applications"]
    tree = Settings.load(SERVE_YAML.with_name("cluster.yaml"))
    assert ApiSettings.model_validate(application["args"]).actors == tree.api.actors
    assert tree.api.actors.state.is_absolute()


def test_below_a_route_prefix_the_application_sees_the_path_that_was_signed() -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["root_path"], scope["path"], scope["raw_path"]))

    async def go(**scope: Any) -> None:
        await Mounted(application)({"type": "http", **scope}, None, None)

    whole = {"path": "/run-1/a b/run-1", "raw_path": b"/run-1/a%20b/run-1"}
    anyio.run(lambda: go(root_path="/run-1", **whole))
    anyio.run(lambda: go(root_path="", **whole))
    assert seen == [("", "/a b/run-1", b"/a%20b/run-1"), ("", *whole.values())]
    there = ActorSettings(api_port=8800)
    assert ApiSettings(actors=there).url == "http://127.0.0.1:8800"
    assert ApiSettings(actors=there, route_prefix="/run-1").url == "http://127.0.0.1:8800/run-1"


def test_an_api_replica_does_not_import_torch() -> None:
    program = "import sys, serve_app.deployment; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
