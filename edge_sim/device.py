"""A simulated device: it really trains on its person's data; its latency comes from a model of it.

The host gives only the shape of latency over students; what the smallest one takes is the device's
own (`anchor_latency_ms`), so a faster host changes no verdict. Numbers are labelled `calibrated`.
What exceeds the device's memory is refused, whatever its profile says.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from edge_sim.scenario import DeviceModel
from stillhouse.compress.arch import build
from stillhouse.compress.windows import PublicWindows
from stillhouse.edge.workbench import FLOAT_BYTES, PrivateData, Workbench
from stillhouse.entities import ProbeResult, Student, digest_of
from stillhouse.errors import Invalid
from stillhouse.wire.messages import ModelCard, ProbeWork

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
        del cores  # the anchor is of the cores that the profile names
        relative = self._host[shape(student)] / min(self._host.values())
        nominal = self._model.anchor_latency_ms * relative
        if not quantised:
            nominal /= self._model.int8_gain
        if weights_bytes(card, student, quantised=quantised) > self._model.cache_bytes:
            nominal *= self._model.cache_factor
        key = digest_of([self._seed, str(student), quantised, seed])
        noise = np.random.default_rng(int(key[:16], 16)).normal(size=RUNS) * self._model.noise_sd
        p50, p95 = np.percentile(nominal * np.exp(noise), (50, 95))
        return float(p50), float(p95)

    def memory_bytes(self, card: ModelCard, student: Student, weights_bytes: int) -> int:
        """As on any device, times what this one's runtime takes beyond that."""
        counted = super().memory_bytes(card, student, weights_bytes)
        return round(counted * self._model.memory_factor)

    def probe(self, work: ProbeWork) -> tuple[ProbeResult, ...]:
        """As on any device, within what this one really has."""
        memory = min(work.memory_bytes, self._model.memory_bytes)
        return super().probe(work.model_copy(update={"memory_bytes": memory}))

    def answers(
        self, card: ModelCard, student: Student, weights: Sequence[bytes]
    ) -> tuple[tuple[float, ...], ...]:
        """As on any device; Invalid where the student does not fit into this one's memory."""
        needed = self.memory_bytes(card, student, sum(map(len, weights)))
        if needed > self._model.memory_bytes:
            raise Invalid(f"{student} takes {needed} B of {self._model.memory_bytes} B")
        return super().answers(card, student, weights)


def weights_bytes(card: ModelCard, student: Student, *, quantised: bool) -> int:
    """Of the student's parameters, in its own bits or in float32."""
    parameters = sum(p.numel() for p in build(card.architecture, student).parameters())
    return parameters * student.bits // 8 if quantised else parameters * FLOAT_BYTES


def shape(student: Student) -> tuple[float, tuple[int, ...]]:
    """Bits change nothing on the host."""
    return student.width, student.depths
