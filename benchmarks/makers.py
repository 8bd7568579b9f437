"""What stories are made of, in benchmarks and tests: a central model, a plan, a device's report.

Numbers are small and round; nothing reads more into them than that they are valid.
"""

from stillhouse.entities import (
    Action,
    ArchitectureSpec,
    CentralModel,
    DistillationMetric,
    Plan,
    Preprocessing,
    ProbeResult,
    ProfileSpec,
    Student,
    TrainingRecipe,
    WeightsRecipe,
)

STUDENT = Student(width=0.5, depths=(1, 1), bits=8)
PROBES = (ProbeResult(student=STUDENT, latency_p50_ms=1, latency_p95_ms=2),)
SPEC = ProfileSpec(
    cpu_cores=1,
    memory_bytes=100_000,
    storage_bytes=50_000,
    latency_p95_ms=5,
    max_accuracy_drop=0.03,
)


def model(name: str = "wrist", version: int = 1) -> CentralModel:
    return CentralModel(
        name=name,
        version=version,
        digest="c" * 64,
        owner_id="own-00000001-0000000000000001",
        architecture=ArchitectureSpec(id="resnet1d"),
        preprocessing=Preprocessing(window=4, step=2, mean=(0.0,), deviation=(1.0,)),
        labels=("up", "down"),
        accuracy=0.9,
        accuracy_se=0.02,
        evaluation_set="a" * 64,
        size_bytes=600,
        parameters=150,
        family_digest="b" * 64,
        transfer_inputs="d" * 64,
        transfer_input_bytes=10,
        transfer_input_count=2,
    )


def plan(round: int, action: Action = Action.DELIVER) -> Plan:
    return Plan(
        round=round,
        action=action,
        student=STUDENT,
        chunks=(WeightsRecipe(base=None, student=STUDENT),),
        training=TrainingRecipe(steps=1, seed=0),
        expected_accuracy=0.9,
        expected_accuracy_sd=0.1,
        expected_latency_p95_ms=1,
        chance=0.9,
        why="it fits",
    )


def metric(round: int) -> DistillationMetric:
    return DistillationMetric(
        round=max(1, round),
        student=STUDENT,
        accuracy=0.9,
        accuracy_se=0.01,
        samples=100,
        latency_p50_ms=1,
        latency_p95_ms=2,
        peak_memory_bytes=100,
        storage_bytes=100,
        training_time_s=1,
    )
