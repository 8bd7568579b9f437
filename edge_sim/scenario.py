"""A scenario: people, their devices, what each device can afford and how it really behaves.

`feasible` is written here beforehand, and never derived from a verdict. Under another seed the
people are others, and it is unknown.
"""

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field

from edge_sim.wrist.central import EPOCHS
from stillhouse.entities import Constraint, Entity, FamilyGrid, Name, Positive, ProfileSpec


class DeviceModel(Entity):
    """How a simulated device behaves; nothing of the product ever reads this.

    Latency = `anchor_latency_ms` x the host's calibration of the student, relative to that of the
    smallest, x `cache_factor` once its weights exceed the cache, with `noise_sd` of noise; float32
    takes 1 / `int8_gain` of that.
    """

    anchor_latency_ms: Positive = Field(description="what the smallest int8 student takes")
    int8_gain: Positive = 0.8
    cache_bytes: int = Field(default=1 << 30, ge=1)
    cache_factor: Positive = 1.25
    noise_sd: float = Field(default=0.03, ge=0, le=1)
    memory_bytes: int = Field(ge=1, description="what the device really has")
    memory_factor: Positive = Field(
        default=1.0, description="what its runtime takes, over weights and live activations"
    )
    bandwidth_bytes_per_s: Positive = 125_000


class Device(Entity):
    """A client: one person's device with its profile."""

    name: Name
    person: int = Field(ge=0, description="place among the seed's client people")
    submit: Literal["before_model", "after_model"]
    feasible: bool | None
    binding_constraint: Constraint | None = Field(
        default=None, description="what makes it infeasible, written down beforehand"
    )
    profile: ProfileSpec
    model: DeviceModel
    offer_of: Name | None = Field(
        default=None, description="the device whose counter-offer this one's profile is"
    )


class Scenario(Entity):
    """What a run of the demo does."""

    name: Name
    seed: int = Field(ge=0)
    central_model: Name
    central_epochs: int = Field(default=EPOCHS, ge=1)
    grid: FamilyGrid | None = Field(default=None, description="of the family; all 135 students")
    baselines: bool = Field(default=True, description="compare with what else could have been done")
    devices: tuple[Device, ...] = Field(min_length=1)

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls.model_validate(yaml.safe_load(path.read_text()))

    def with_seed(self, seed: int) -> "Scenario":
        """The same devices with other people: whether each is feasible is not known."""
        if seed == self.seed:
            return self
        unknown = {"feasible": None, "binding_constraint": None}
        devices = tuple(device.model_copy(update=unknown) for device in self.devices)
        return self.model_copy(update={"seed": seed, "devices": devices})
