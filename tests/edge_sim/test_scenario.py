"""Scenarios: what is expected is written beforehand, and only for the seed it was written for."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from edge_sim.scenario import DeviceModel, Scenario

DEMO = Path(__file__).parents[2] / "configs" / "scenarios" / "demo.yaml"


def test_the_demo_has_one_person_with_three_devices_of_which_one_is_hopeless() -> None:
    scenario = Scenario.load(DEMO)
    assert {device.person for device in scenario.devices} == {0}
    assert sorted(str(device.feasible) for device in scenario.devices) == ["False", "True", "True"]
    assert [device.submit for device in scenario.devices].count("before_model") == 1


def test_under_another_seed_nobody_knows_what_is_feasible() -> None:
    scenario = Scenario.load(DEMO)
    other = scenario.with_seed(scenario.seed + 1)
    assert other.seed == scenario.seed + 1
    assert {device.feasible for device in other.devices} == {None}
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
