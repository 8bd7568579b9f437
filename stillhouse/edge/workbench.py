"""What a device does with a student: probe, load, train, measure. A simulated one differs in the
hooks `latency_ms` and `memory_bytes` alone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stillhouse.compress.arch import Network, build, load_weights, to_safetensors
from stillhouse.compress.architectures import network
from stillhouse.compress.behaviour import Behaviour
from stillhouse.compress.measure import activation_bytes, logits, training_bytes
from stillhouse.compress.quantize import FLOAT_BITS
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.windows import PublicWindows
from stillhouse.edge.probe import latency, probe_network
from stillhouse.edge.train import Training, accuracy, baked, load_student, train
from stillhouse.entities import DistillationMetric, ProbeResult, Student
from stillhouse.errors import Refusal, VerificationFailed
from stillhouse.wire.messages import MeasureWork, ModelCard, ProbeWork, TrainWork

FLOAT_BYTES = 4
SELF_TEST_WINDOWS = 2


@dataclass(frozen=True, slots=True)
class PrivateData:
    """A person's recordings; they never leave the device."""

    train: Recordings
    validation: Recordings


class Workbench:
    """A real device's: everything is measured where it runs."""

    source: Literal["measured", "calibrated"] = "measured"

    def __init__(self, private: PrivateData, public: PublicWindows | None) -> None:
        self._private, self._public = private, public
        self._trained_s = 0.0
        self._training_bytes: int | None = None  # where this process trained

    # --- the hooks of a device ---

    def latency_ms(
        self, card: ModelCard, student: Student, cores: int, *, quantised: bool, seed: int
    ) -> tuple[float, float]:
        """(p50, p95) of 200 warm runs at batch 1."""
        del quantised  # this runtime computes in float32 whatever the bits
        model = probe_network(card.architecture, student, seed)
        return latency(model, shape_of(card), cores)

    def memory_bytes(self, card: ModelCard, student: Student, weights_bytes: int) -> int:
        """Weights in the runtime's format and the peak of live activations at batch 1."""
        return weights_bytes + activation_bytes(build(card.architecture, student), shape_of(card))

    def training_bytes(self, work: TrainWork, model: Network, weights_bytes: int) -> int:
        """The received weights and the peak of one step of the recipe, measured on `model`."""
        recipe = work.training
        return weights_bytes + training_bytes(
            model, shape_of(work.card), recipe.batch, recipe.trainable
        )

    # --- the loop's work ---

    def probe(self, work: ProbeWork) -> tuple[ProbeResult, ...]:
        """Latency of the probe networks that fit the profile's memory."""
        return tuple(
            self._probed(work, student) for student in work.students if self._fits(work, student)
        )

    def answers(
        self, card: ModelCard, student: Student, weights: Sequence[bytes]
    ) -> tuple[tuple[float, ...], ...]:
        """Logits of the received student, before training: proof that it was loaded."""
        model = load_student(card.architecture, student, weights)
        found = logits(model, self._some_windows(card))
        if not np.isfinite(found).all():
            raise VerificationFailed(f"the received {student} does not compute")
        return tuple(tuple(map(float, row)) for row in found)

    def train(
        self,
        work: TrainWork,
        weights: Sequence[bytes],
        behaviour: Sequence[bytes],
        progress: Callable[[float], None],
    ) -> tuple[bytes, Training]:
        """The trained student as safetensors (weights on the family's grid), and what it took."""
        started = time.monotonic()
        card = work.card
        model = load_student(card.architecture, work.student, weights)
        training = train(
            model,
            self._private.train,
            self._private.validation,
            card.preprocessing,
            work.training,
            self._public if behaviour else None,
            Behaviour.joined(behaviour) if behaviour else None,
            progress,
            embeds=network(card.architecture).embeds,
        )
        self._trained_s = time.monotonic() - started
        self._training_bytes = self.training_bytes(work, model, sum(map(len, weights)))
        return to_safetensors(baked(model, card.architecture, work.student)), training

    def self_test(self, card: ModelCard, student: Student, trained: bytes) -> bool:
        """Does it load, and compute finite logits?"""
        try:
            model = load_weights(build(card.architecture, student), trained)
        except Refusal:
            return False
        return bool(np.isfinite(logits(model, self._some_windows(card))).all())

    def measure(
        self, work: MeasureWork, trained: bytes, reference_bytes: int
    ) -> DistillationMetric:
        """The trained student on held-out private data; `reference_bytes`: its chunks on disk."""
        card = work.card
        model = load_weights(build(card.architecture, work.student), trained)
        support = self._private.train if network(card.architecture).embeds else None
        score = accuracy(model, self._private.validation, card.preprocessing, work.seed, support)
        quantised = work.student.bits < FLOAT_BITS
        p50, p95 = self.latency_ms(
            card, work.student, work.cpu_cores, quantised=quantised, seed=work.seed
        )
        return DistillationMetric(
            round=work.round,
            student=work.student,
            accuracy=score.accuracy,
            accuracy_se=score.se,
            samples=score.samples,
            latency_p50_ms=p50,
            latency_p95_ms=p95,
            peak_memory_bytes=self.memory_bytes(card, work.student, reference_bytes),
            storage_bytes=reference_bytes,
            training_memory_bytes=self._training_bytes,
            training_time_s=self._trained_s,
            source=self.source,
        )

    def _probed(self, work: ProbeWork, student: Student) -> ProbeResult:
        p50, p95 = self.latency_ms(
            work.card, student, work.cpu_cores, quantised=False, seed=work.seed
        )
        return ProbeResult(student=student, latency_p50_ms=p50, latency_p95_ms=p95)

    def _fits(self, work: ProbeWork, student: Student) -> bool:
        model = build(work.card.architecture, student)
        weights = FLOAT_BYTES * sum(p.numel() for p in model.parameters())
        return self.memory_bytes(work.card, student, weights) <= work.memory_bytes

    def _some_windows(self, card: ModelCard) -> np.ndarray:
        windows, _, _ = self._private.validation.windows(card.preprocessing)
        return windows[:SELF_TEST_WINDOWS]


def shape_of(card: ModelCard) -> tuple[int, int]:
    """(axes, samples) of one input."""
    return len(card.preprocessing.mean), card.preprocessing.window
