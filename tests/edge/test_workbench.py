"""What a device does with a student: only what fits is probed, only what computes is installed."""

import numpy as np
import pytest
import tiny
from safetensors.numpy import load, save

from stillhouse.chunks import weights_chunks
from stillhouse.compress.behaviour import behaviour_chunk
from stillhouse.compress.slices import weights_chunk
from stillhouse.edge.workbench import PrivateData, Workbench
from stillhouse.entities import BehaviourRecipe, KnowledgeChunk, TrainingRecipe
from stillhouse.errors import VerificationFailed
from stillhouse.wire.messages import MeasureWork, ModelCard, ProbeWork, TrainWork

CARD = ModelCard(
    architecture=tiny.ARCHITECTURE,
    preprocessing=tiny.PRE,
    labels=tiny.SPEC.labels,
    transfer_inputs=tiny.family().public.digest(),
    transfer_input_count=20,
)
POINT = tiny.student(0.5, 1, 2)
WEIGHTS = [weights_chunk(tiny.family(), r) for r in weights_chunks(tiny.family().table, POINT)]
BEHAVIOUR = [behaviour_chunk(tiny.family(), BehaviourRecipe(top_k=2, first=0, count=20))]
PRIVATE = PrivateData(tiny.recordings(5), tiny.recordings(6))
WHERE = {"job_id": "job-1", "attempt": 1, "card": CARD}
SLOW = (2.0, 3.0)  # p50 and p95, ms


class StillWorkbench(Workbench):
    """Takes no time: how long networks take here is the host's affair."""

    def latency_ms(self, *_: object, **__: object) -> tuple[float, float]:
        return SLOW


BENCH = StillWorkbench(PRIVATE, tiny.family().public)


def train_work(steps: int = 20) -> TrainWork:
    chunk = KnowledgeChunk(
        recipe=BehaviourRecipe(top_k=2, first=0, count=20), digest="a" * 64, length=1
    )
    return TrainWork(
        **WHERE,
        node="r1.train",
        round=1,
        profile_id="prf-1",
        student=POINT,
        weights=(),
        behaviour=(chunk,),
        training=TrainingRecipe(steps=steps, batch=16, seed=3),
    )


def trained() -> bytes:
    return BENCH.train(train_work(), WEIGHTS, BEHAVIOUR, lambda _: None)[0]


def probe_work(memory_bytes: int) -> ProbeWork:
    return ProbeWork(
        **WHERE,
        node="probe",
        students=tiny.family().table.probes,
        memory_bytes=memory_bytes,
        cpu_cores=1,
    )


@pytest.mark.parametrize(("memory_bytes", "count"), [(1_000, 0), (1_700, 2), (1_000_000, 4)])
def test_only_networks_that_fit_the_memory_are_probed(memory_bytes: int, count: int) -> None:
    found = BENCH.probe(probe_work(memory_bytes))
    assert [each.student for each in found] == list(tiny.family().table.probes[:count])
    assert {(each.latency_p50_ms, each.latency_p95_ms) for each in found} <= {SLOW}


def test_a_real_device_measures_where_it_runs() -> None:
    p50, p95 = Workbench(PRIVATE, None).latency_ms(CARD, POINT, 1, quantised=True, seed=0)
    assert 0 < p50 <= p95


def test_the_received_student_answers_with_one_row_a_window() -> None:
    answers = np.array(BENCH.answers(CARD, POINT, WEIGHTS))
    assert answers.shape == (2, 3)
    assert np.isfinite(answers).all()


def test_chunks_that_lead_elsewhere_are_not_loaded() -> None:
    with pytest.raises(VerificationFailed):
        BENCH.answers(CARD, POINT, WEIGHTS[:1])


def test_a_trained_student_passes_its_self_test_and_is_the_same_again() -> None:
    student = trained()
    assert BENCH.self_test(CARD, POINT, student)
    assert student == trained()


@pytest.mark.parametrize("damage", ["nan", "another", "garbage", "nothing"])
def test_a_student_that_does_not_load_and_compute_fails_its_self_test(damage: str) -> None:
    tensors = load(trained())
    tensors["head.weight"][0, 0] = np.nan
    other = BENCH.train(
        train_work().model_copy(update={"student": tiny.student(0.5, 1, 1, bits=4)}),
        WEIGHTS[:1],
        BEHAVIOUR,
        lambda _: None,
    )[0]
    bad = {"nan": save(tensors), "another": other, "garbage": b"\x80\x04pickle", "nothing": b""}
    assert not BENCH.self_test(CARD, POINT, bad[damage])


def test_a_student_too_large_to_compute_fails_its_self_test() -> None:
    """Finite weights, infinite logits."""
    tensors = {name: np.full_like(value, 3e38) for name, value in load(trained()).items()}
    assert not BENCH.self_test(CARD, POINT, save(tensors))


def test_a_measurement_says_what_the_student_is_and_what_it_costs() -> None:
    work = MeasureWork(
        **WHERE,
        node="r1.measure",
        round=1,
        profile_id="prf-1",
        student=POINT,
        cpu_cores=1,
        seed=3,
    )
    size = sum(map(len, WEIGHTS))
    metric = BENCH.measure(work, trained(), size)
    assert (metric.round, metric.student, metric.source) == (1, POINT, "measured")
    assert (metric.latency_p50_ms, metric.latency_p95_ms) == SLOW
    assert metric.storage_bytes == size < metric.peak_memory_bytes
    assert metric.samples == len(PRIVATE.validation.windows(tiny.PRE)[0])
    assert 0 < metric.accuracy <= 1
    assert metric.accuracy_se > 0
