"""Scenarios: what is expected is written beforehand, and only for the seed it was written for."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from edge_sim.scenario import DeviceModel, Scenario
from stillhouse.entities import Constraint

DEMO = Path(__file__).parents[2] / "configs" / "scenarios" / "demo.yaml"


def test_the_demo_has_three_people_eight_devices_and_one_that_nothing_can_meet() -> None:
    devices = Scenario.load(DEMO).devices
    assert {device.person for device in devices} == {0, 1, 2}
    assert len({device.profile.fingerprint() for device in devices}) == len(devices) == 8
    assert [device.submit for device in devices].count("before_model") == 1
    hopeless = [(d.name, d.binding_constraint) for d in devices if not d.feasible]
    assert hopeless == [("tag", Constraint.LATENCY)]


def test_under_another_seed_nobody_knows_what_is_feasible() -> None:
    scenario = Scenario.load(DEMO)
    other = scenario.with_seed(scenario.seed + 1)
    assert other.seed == scenario.seed + 1
    assert {(d.feasible, d.binding_constraint) for d in other.devices} == {(None, None)}
    assert [d.profile for d in other.devices] == [d.profile for d in scenario.devices]


def test_under_its_own_seed_the_expectations_stay() -> None:
    scenario = Scenario.load(DEMO)
    assert scenario.with_seed(scenario.seed) == scenario


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("seed",), -1),
        (("devices",), []),
        (("devices", 0, "feasible"), "perhaps"),
        (("devices", 0, "submit"), "later"),
        (("devices", 0, "surprise"), 1),
        (("devices", 0, "profile", "latency_p95_ms"), float("nan")),
        (("devices", 0, "model", "anchor_latency_ms"), 0),
    ],
)
def test_a_misspelt_or_impossible_scenario_is_refused(tmp_path: Path, place, value) -> None:
    document = yaml.safe_load(DEMO.read_text())
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValidationError):
        Scenario.load(path)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(yaml.YAMLError):
        Scenario.load(path)


def test_without_a_cache_or_int8_path_of_its_own_a_device_has_the_usual_ones() -> None:
    model = DeviceModel(anchor_latency_ms=1, memory_bytes=1)
    assert (model.cache_factor, model.noise_sd) == (1.25, 0.03)
