"""What the actors are told at start: where state lives, how many shards, which loopback ports."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cluster.ingress import FIRST_PORT, REPLICA_PORTS, Ingress, environment
from stillhouse.entities import FamilyGrid


class ActorSettings(BaseModel):
    """Part of the one frozen tree of settings (configs/settings.py composes it)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = "stillhouse"
    detached: bool = True  # False: the actors end with the process that started them
    cluster_id: str = "local"
    state: Path = Path(".stillhouse/state")
    shards: int = Field(default=2, ge=1, le=1024)
    host: str = "127.0.0.1"  # of every listener; another needs TLS in front
    api_port: int = Field(default=8700, ge=1, le=65535)
    chunk_port: int = Field(default=8701, ge=1, le=65535)
    families: Path | None = None  # sealed families; deployments of one cluster key may share them
    family_seed: int = 0
    grid: FamilyGrid = FamilyGrid()
    ingress: Ingress = "proxy"
    replica_port: int = Field(default=FIRST_PORT, ge=1, le=65535 - REPLICA_PORTS)  # the first
    behind_tls: bool = False  # something in front of the API's port ends TLS and is all one reaches
    public_authorities: tuple[str, ...] = ()  # what it passes on as Host, beside our own
    tick_s: float = Field(default=1.0, gt=0)
    open_jobs: int | None = Field(default=1000, ge=1)  # that one client may have; None: any number
    events_kept_s: float = Field(default=30 * 86400, gt=0)  # in the journal; then in the archive
    answers_kept_s: float = Field(default=86400, ge=600)  # to commands, for their repeats
    cached_rows: int = Field(default=20_000, ge=100)  # in memory, a shard
    effects_in_flight: int = Field(default=32, ge=1)  # of a shard; the others wait for their turn

    @property
    def authorities(self) -> tuple[str, ...]:
        """Values of @authority that signed requests may carry."""
        ports = (self.api_port, self.chunk_port, *self.replica_ports)
        ours = (f"{host}:{port}" for port in ports for host in (self.host, "localhost"))
        return (*ours, *self.public_authorities)

    @property
    def replica_ports(self) -> range:
        """Where clients may find replicas; none where only a proxy speaks to them."""
        count = REPLICA_PORTS if self.ingress == "direct" else 0
        return range(self.replica_port, self.replica_port + count)

    @property
    def ray_environment(self) -> dict[str, str]:
        """What the processes of its cluster are started with."""
        return environment(self.ingress, self.replica_port)

    @property
    def chunk_url(self) -> str:
        return f"http://{self.host}:{self.chunk_port}"

    def manager(self, shard: int) -> str:
        """The name of a shard's JobManager."""
        return f"job-manager-{shard}"

    @property
    def public_keys(self) -> Path:
        """A file that API replicas read: the public halves alone."""
        return self.state / "keys" / "public.json"

    @property
    def keys(self) -> Path:
        return self.state / "keys"

    @property
    def family_folder(self) -> Path:
        return self.families or self.state / "artefacts"


VAULT = "model-vault"
CHUNK_SERVER = "chunk-server-0"
FLEET_PRIOR = "fleet-prior"
