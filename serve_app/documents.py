"""From rows to what people and devices read. Pure."""

from collections.abc import Iterable, Sequence
from itertools import chain

from stillhouse.brief import held_chunks
from stillhouse.entities import (
    BehaviourRecipe,
    CentralModel,
    FamilyTable,
    JobState,
    KnowledgeChunk,
    WeightsRecipe,
)
from stillhouse.jobs import Job, Kind, State
from stillhouse.rounds import round_of
from stillhouse.rows import DeliveryRow, DistillationJobRow, PrincipalRow
from stillhouse.wire.messages import (
    FetchWork,
    GraphNode,
    JobStatus,
    MeasureWork,
    ModelCard,
    ProbeWork,
    TrainWork,
    TransferProgress,
    WorkItem,
)

OPEN = (JobState.ACCEPTED, JobState.RUNNING)


def job_status(job: DistillationJobRow, deliveries: Sequence[DeliveryRow]) -> JobStatus:
    """All that is known of a job."""
    return JobStatus(
        job=job.document(),
        round=job.round,
        graph=tuple(graph_node(node) for node in job.graph.values()),
        plan=job.plans[-1] if job.plans else None,
        plans=job.plans,
        transfers=transfer_progress(deliveries),
        metrics=job.metrics,
        metrics_after_verdict=job.kept_metrics,
        follows=job.follows,
        followed_by=job.followed_by,
        judgement=job.judgement,
        verdict=job.verdict,
        why=job.why,
    )


def graph_node(node: Job) -> GraphNode:
    return GraphNode(
        id=node.id,
        kind=node.kind,
        parents=node.parents,
        state=node.state,
        cause=node.cause,
        since=node.since,
        attempt=node.attempt,
    )


def transfer_progress(deliveries: Sequence[DeliveryRow]) -> TransferProgress:
    every = list(chain.from_iterable(each.chunks for each in deliveries))
    done = list(chain.from_iterable(each.chunks[: each.acknowledged] for each in deliveries))
    return TransferProgress(
        chunks=len(every),
        chunks_acknowledged=len(done),
        bytes=sum(chunk.length for chunk in every),
        bytes_acknowledged=sum(chunk.length for chunk in done),
    )


def work_items(
    job: DistillationJobRow,
    owner: PrincipalRow,
    deliveries: Sequence[DeliveryRow],
    table: FamilyTable | None,
) -> Iterable[WorkItem]:
    """What the device can do for this job now; `table` only where a probe waits."""
    if job.state is not JobState.RUNNING or job.model is None:
        return
    card = model_card(job.model)
    for node in job.graph.values():
        if node.state is not State.WAITING_CLIENT:
            continue
        match node.kind:
            case Kind.PROBE if table is not None:
                yield probe_work(job, node, card, table)
            case Kind.TRANSFER:
                yield fetch_work(job, node, deliveries)
            case Kind.TRAIN:
                yield train_work(job, node, card, owner, deliveries)
            case Kind.MEASURE:
                yield measure_work(job, node, card)


def model_card(model: CentralModel) -> ModelCard:
    return ModelCard(
        architecture=model.architecture,
        preprocessing=model.preprocessing,
        labels=model.labels,
        transfer_inputs=model.transfer_inputs,
        transfer_input_count=model.transfer_input_count,
    )


def probe_work(
    job: DistillationJobRow, node: Job, card: ModelCard, table: FamilyTable
) -> ProbeWork:
    return ProbeWork(
        job_id=job.id,
        node=node.id,
        attempt=node.attempt,
        card=card,
        students=table.probes,
        memory_bytes=job.profile.spec.memory_bytes,
        cpu_cores=job.profile.spec.cpu_cores,
    )


def fetch_work(job: DistillationJobRow, node: Job, deliveries: Sequence[DeliveryRow]) -> FetchWork:
    delivery = deliveries[-1]
    return FetchWork(
        job_id=job.id,
        node=node.id,
        attempt=node.attempt,
        delivery_id=delivery.id,
        profile_id=delivery.profile_id,
        version=delivery.version,
        next_chunk=delivery.acknowledged,
    )


def train_work(
    job: DistillationJobRow,
    node: Job,
    card: ModelCard,
    owner: PrincipalRow,
    deliveries: Sequence[DeliveryRow],
) -> TrainWork:
    """Names all chunks of the student, those of the latest delivery that still come included."""
    plan = job.plans[round_of(node.id) - 1]
    coming = chain.from_iterable(delivery.chunks for delivery in deliveries)
    known = {chunk.recipe: chunk for chunk in (*coming, *held_chunks(job, owner))}
    needed = [known[recipe] for recipe in plan.chunks if recipe in known]
    return TrainWork(
        job_id=job.id,
        node=node.id,
        attempt=node.attempt,
        round=plan.round,
        profile_id=job.profile.id,
        card=card,
        student=plan.student,
        weights=tuple(of_kind(needed, WeightsRecipe)),
        behaviour=tuple(of_kind(needed, BehaviourRecipe)),
        training=plan.training,
    )


def of_kind(
    chunks: Iterable[KnowledgeChunk], kind: type[WeightsRecipe] | type[BehaviourRecipe]
) -> Iterable[KnowledgeChunk]:
    return (chunk for chunk in chunks if isinstance(chunk.recipe, kind))


def measure_work(job: DistillationJobRow, node: Job, card: ModelCard) -> MeasureWork:
    plan = job.plans[round_of(node.id) - 1]
    return MeasureWork(
        job_id=job.id,
        node=node.id,
        attempt=node.attempt,
        round=plan.round,
        profile_id=job.profile.id,
        card=card,
        student=plan.student,
        cpu_cores=job.profile.spec.cpu_cores,
        seed=plan.training.seed,
    )
