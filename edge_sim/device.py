"""A simulated device: it really trains on its person's data; its latency comes from a model of it.

The host gives only the shape of latency over students; what the smallest one takes is the device's
own (`anchor_latency_ms`), so a faster host changes no verdict. Numbers are labelled `calibrated`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from edge_sim.scenario import DeviceModel
from stillhouse.compress.windows import PublicWindows
from stillhouse.edge.workbench import PrivateData, Workbench
from stillhouse.entities import Student, digest_of
from stillhouse.errors import Invalid
from stillhouse.wire.messages import ModelCard

RUNS = 200
Calibration = Mapping[Student, float]  # milliseconds of the host, float32


class SimulatedWorkbench(Workbench):
    """`calibration` is the host's, one recorded input of the run; `seed` makes the noise."""

    source: Literal["measured", "calibrated"] = "calibrated"

    def __init__(
        self,
        private: PrivateData,
        public: PublicWindows | None,
        model: DeviceModel,
        calibration: Calibration,
        seed: int,
    ) -> None:
        super().__init__(private, public)
        self._model, self._seed = model, seed
        self._host = {shape(student): ms for student, ms in calibration.items()}

    def latency_ms(
        self, card: ModelCard, student: Student, cores: int, *, quantised: bool, seed: int
    ) -> tuple[float, float]:
        del card, cores  # the anchor is of the cores that the profile names
        relative = self._host[shape(student)] / min(self._host.values())
        nominal = self._model.anchor_latency_ms * relative
        if not quantised:
            nominal /= self._model.int8_gain
        key = digest_of([self._seed, str(student), quantised, seed])
        noise = np.random.default_rng(int(key[:16], 16)).normal(size=RUNS) * self._model.noise_sd
        p50, p95 = np.percentile(nominal * np.exp(noise), (50, 95))
        return float(p50), float(p95)

    def answers(
        self, card: ModelCard, student: Student, weights: Sequence[bytes]
    ) -> tuple[tuple[float, ...], ...]:
        """As on any device; Invalid where the student does not fit into this one's memory."""
        needed = self.memory_bytes(card, student, sum(map(len, weights)))
        if needed > self._model.memory_bytes:
            raise Invalid(f"{student} takes {needed} B of {self._model.memory_bytes} B")
        return super().answers(card, student, weights)


def shape(student: Student) -> tuple[float, tuple[int, ...]]:
    """Bits change nothing on the host."""
    return student.width, student.depths
