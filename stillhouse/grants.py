"""Whether a device may fetch a chunk now: opened are the acknowledged ones and the next (I2)."""

from dataclasses import dataclass

from stillhouse.authorization import authorize, owned
from stillhouse.entities import JobState, KnowledgeChunk, Principal
from stillhouse.errors import Gone, NotFound, TransferClosed
from stillhouse.jobs import Job, State
from stillhouse.rounds import transfer
from stillhouse.rows import DeliveryRow, DistillationJobRow


@dataclass(frozen=True, slots=True)
class Grant:
    """What a chunk server needs to stream one chunk to one client; no key in the clear."""

    delivery: DeliveryRow
    index: int
    transfer: Job  # the node whose lease it is

    @property
    def chunk(self) -> KnowledgeChunk:
        return self.delivery.chunks[self.index]


def grant(
    delivery: DeliveryRow, job: DistillationJobRow, who: Principal, index: int, now: float
) -> Grant:
    """The grant; TransferClosed before its turn, Gone when the job or delivery is over."""
    authorize(who, "read_delivery")
    owned(who, delivery.client_id, delivery.id)
    node = transfer(job.graph, delivery.round, index)
    if node is None:
        raise NotFound(f"delivery {delivery.id} has {len(delivery.chunks)} chunks")
    if job.state is not JobState.RUNNING or now >= delivery.expires_at:
        raise Gone(f"delivery {delivery.id} is over")
    if node.state is State.BLOCKED:
        raise TransferClosed(f"a chunk before {index} has not been acknowledged")
    return Grant(delivery, index, node)
