"""A running deployment, and how tests use one."""

from dataclasses import dataclass

import tiny

from actors.settings import ActorSettings
from actors.start import Wiring
from stillhouse.entities import Role
from stillhouse.sdk import Stillhouse, Version
from stillhouse.wire.identity import Identity
from stillhouse.wire.messages import JobStatus


@dataclass(frozen=True, slots=True)
class House:
    """A running deployment."""

    url: str
    settings: ActorSettings
    wiring: Wiring

    def register(self, name: str) -> Version:
        """Upload the tiny central model under a name, and wait until it is available."""
        with Stillhouse([self.url], Identity.derive(b"owner"), Role.OWNER) as owner:
            owner.enrol()
            version = owner.register(name, tiny.SPEC, files())
            return owner.wait_available(version, timeout_s=120)

    def ended(self, job_id: str) -> JobStatus:
        """The status of a job once it is over."""
        with Stillhouse([self.url], Identity.derive(b"operator"), Role.OPERATOR) as operator:
            operator.enrol()
            return operator.wait(job_id, timeout_s=120)


def files() -> dict[str, bytes]:
    """What the owner of the tiny model uploads."""
    public = tiny.recordings(2)
    return {
        "weights": tiny.central_weights(),
        "training": tiny.recordings(1).to_parquet(),
        "transfer": public.unlabelled().to_parquet(),
        "evaluation": public.to_parquet(),
    }
