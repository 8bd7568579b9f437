"""The Serve application: what it refuses, what it imports, and that its YAML says what it takes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from actors.settings import ActorSettings
from serve_app import deployment
from serve_app.deployment import ApiSettings, check
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


def test_an_api_replica_does_not_import_torch() -> None:
    program = "import sys, serve_app.deployment; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
