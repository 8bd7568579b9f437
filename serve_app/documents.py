"""From rows to what people and devices read. Pure."""

from collections.abc import Iterable, Sequence
from itertools import chain

from actors.reading import OpenJob
from stillhouse.chunks import made, made_recipe
from stillhouse.entities import (
    BehaviourRecipe,
    CentralModel,
    FamilyTable,
    JobState,
    KnowledgeChunk,
    WeightsRecipe,
)
from stillhouse.jobs import Job, Kind, State
from stillhouse.rounds import acknowledged, round_of
from stillhouse.rows import DeadLetterRow, DeliveryRow, DistillationJobRow
from stillhouse.wire.messages import (
    DeadLetter,
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


def job_status(job: DistillationJobRow, deliveries: Sequence[DeliveryRow]) -> JobStatus:
    """All that is known of a job."""
    return JobStatus(
        job=job.document(),
        round=job.round,
        graph=tuple(graph_node(node) for node in job.graph.values()),
        plan=job.plans[-1] if job.plans else None,
        plans=job.plans,
        transfers=transfer_progress(job, deliveries),
        metrics=job.metrics,
        metrics_after_verdict=job.kept_metrics,
        follows=job.follows,
        followed_by=job.followed_by,
        judgement=job.judgement,
        verdict=job.verdict,
        why=job.why,
    )


def dead_letter(row: DeadLetterRow) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        client_id=row.client_id,
        job_id=row.job_id,
        node=row.node,
        attempts=row.attempt,
        error=row.error,
        at=row.at,
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


def transfer_progress(
    job: DistillationJobRow, deliveries: Sequence[DeliveryRow]
) -> TransferProgress:
    every = list(chain.from_iterable(each.chunks for each in deliveries))
    done = [
        chunk for each in deliveries for chunk in each.chunks[: acknowledged(job.graph, each.round)]
    ]
    return TransferProgress(
        chunks=len(every),
        chunks_acknowledged=len(done),
        bytes=sum(chunk.length for chunk in every),
        bytes_acknowledged=sum(chunk.length for chunk in done),
    )


def work_items(work: OpenJob, table: FamilyTable | None) -> Iterable[WorkItem]:
    """What the device can do for this job now; `table` only where a probe waits."""
    job = work.job
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
                yield fetch_work(work, node)
            case Kind.TRAIN:
                yield train_work(work, node, card)
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


def fetch_work(work: OpenJob, node: Job) -> FetchWork:
    delivery = work.delivery
    assert delivery is not None  # noqa: S101  a transfer is one of a delivery's
    return FetchWork(
        job_id=work.job.id,
        node=node.id,
        attempt=node.attempt,
        delivery_id=delivery.id,
        profile_id=delivery.profile_id,
        version=delivery.version,
        next_chunk=acknowledged(work.job.graph, delivery.round),
    )


def train_work(work: OpenJob, node: Job, card: ModelCard) -> TrainWork:
    """Names all chunks of the student, those of the latest delivery that still come included, and
    what deltas make instead of them."""
    job = work.job
    plan = job.plans[round_of(node.id) - 1]
    coming = work.delivery.chunks if work.delivery else ()
    known = {chunk.recipe: chunk for chunk in (*map(made, coming), *work.held)}
    needed = [known[recipe] for recipe in map(made_recipe, plan.chunks) if recipe in known]
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
