"""Registration: measure a central model, build its family; on a GPU if the cluster has one.

The tasks open sealed artefacts inside their own process with the cluster's key, read from its
configured path; what they return to the vault is sealed again. Only the tasks import torch.
"""

import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from actors.effects import report
from actors.settings import ActorSettings
from cluster.placement import prefer_gpu
from cluster.sources import code_digest
from stillhouse.decisions import Effect
from stillhouse.entities import CentralModel, CentralModelSpec, FamilyTable, digest_of
from stillhouse.errors import UnsupportedFormat
from stillhouse.versions import (
    Evaluated,
    FamilyBuilt,
    Measured,
    RegistrationFailed,
    VersionRow,
    name_key,
    version_key,
)
from stillhouse.wire.identity import ClusterKey
from stillhouse.wire.seal import open_artefact, seal_artefact

if TYPE_CHECKING:
    from stillhouse.compress.container import Family
    from stillhouse.compress.recordings import Recordings

NOT_BUILT_FROM = "evaluation"  # of the files: it only gives the accuracy


def start(effect: Effect, version: VersionRow, settings: ActorSettings, vault: Any) -> None:
    """Start a registration's next step; its result comes to `vault.apply`."""
    name = f"{effect.kind} {effect.job_id}"
    register.options(name=name, **prefer_gpu()).remote(effect, version, settings, vault)


@ray.remote(max_retries=2)
def register(effect: Effect, version: VersionRow, settings: ActorSettings, vault: Any) -> None:
    """`evaluate` or `build_family`, in one process that may open the owner's files."""
    place = (version.name, version.version, effect.attempt)
    files = Files(version, settings, vault)

    def result() -> Evaluated | FamilyBuilt:
        if effect.kind == "evaluate":
            return Evaluated(*place, evaluate(files))
        return FamilyBuilt(*place, *family_of(files))

    def failure(error: str) -> RegistrationFailed:
        return RegistrationFailed(*place, error)

    report(vault, f"{effect.job_id}/{effect.kind}/{effect.attempt}", result, failure)


class Files:
    """The owner's files of a version, opened in this process."""

    def __init__(self, version: VersionRow, settings: ActorSettings, vault: Any) -> None:
        self.version = version
        self.settings = settings
        self.vault = vault
        self.key = ClusterKey.load(settings.keys / "cluster.key")

    def open(self, file: str) -> bytes:
        name = f"uploads/{self.version.name}/{self.version.version}/{file}"
        sealed = ray.get(self.vault.artefact.remote(name))
        return open_artefact(sealed, self.key, upload_label(self.version.name, file))

    def labelled(self) -> "Recordings | None":
        """The training set, if the owner gave one."""
        return self.recordings("training") if "training" in self.version.spec.files else None

    def recordings(self, file: str) -> "Recordings":
        from stillhouse.compress.recordings import Recordings

        return Recordings.from_parquet(self.open(file))

    def built(self, key: str) -> "Family | None":
        """The family that an earlier build of the same recipe key left, if there is one."""
        digest = ray.get(self.vault.built.remote(key))
        if digest is None:
            return None
        return self.family(digest)

    def family(self, digest: str) -> "Family":
        from stillhouse.compress.container import Family

        sealed = ray.get(self.vault.family.remote(digest))
        return Family.from_bytes(open_artefact(sealed.data, self.key, family_label(digest)))

    def row(self, key: str) -> Any:
        return ray.get(self.vault.rows.remote([key]))[key]

    def previous(self) -> "Family | None":
        """The family of the latest version before this one, if devices can update from it: the
        same architecture, preprocessing and grid."""
        name, spec = self.version.name, self.version.spec
        row = self.row(name_key(name))
        if row is None or row.latest is None or row.latest >= self.version.version:
            return None
        before: VersionRow = self.row(version_key(name, row.latest))
        if before.model is None or compatible(before.spec) != compatible(spec):
            return None
        try:
            return self.family(before.model.family_digest)
        except UnsupportedFormat:  # of an earlier release: there is nothing to update from
            return None

    def keep(self, family: "Family", key: str) -> None:
        sealed = seal_artefact(
            family.to_bytes(), self.key.public, family_label(family.digest), os.urandom
        )
        array = np.frombuffer(sealed, dtype=np.uint8)
        ray.get(self.vault.store_family.remote(family.digest, array, key))


def compatible(spec: CentralModelSpec) -> list[Any]:
    """What two versions must share for an update of their students."""
    return [spec.architecture, spec.preprocessing, spec.grid, spec.labels]


def upload_label(name: str, file: str) -> str:
    """What an owner's sealed file is bound to."""
    return f"upload/{name}/{file}"


def family_label(digest: str) -> str:
    """What a sealed family is bound to."""
    return f"family/{digest}"


def evaluate(files: Files) -> Measured:
    """The registered accuracy, over people that nothing else reads the labels of."""
    from stillhouse.compress import arch, architectures, measure

    spec, weights = files.version.spec, files.open("weights")
    model = arch.load_weights(arch.build(spec.architecture), weights)
    full, pre = architectures.network(spec.architecture), spec.preprocessing
    full.check_windows(pre.window, discrete=pre.discrete)
    score = measure.evaluate(model, files.recordings("evaluation"), pre, embeds=full.embeds)
    return Measured(
        accuracy=score.accuracy,
        accuracy_se=score.se,
        evaluation_set=spec.files["evaluation"],
        size_bytes=sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        parameters=sum(p.numel() for p in model.parameters()),
    )


def family_of(files: Files) -> tuple[CentralModel, FamilyTable, bool]:
    """The version as it will be announced, and its family, kept sealed at the vault; True if the
    family was there already, from the same files by the same code."""
    version, measured = files.version, files.version.measured
    assert measured is not None  # noqa: S101  a family is built after the evaluation
    previous = files.previous()
    key = build_key(files, measured, previous)
    found = files.built(key)
    family = found or build(files, measured, previous)
    if found is None:
        files.keep(family, key)
    return announcement(version, measured, family), family.table, found is not None


def build_key(files: Files, measured: Measured, previous: "Family | None") -> str:
    """The recipe key of a family: all that it is built from, and the code that builds it."""
    import torch

    from stillhouse import compress, edge

    spec = files.version.spec
    built_from = sorted(set(spec.files) - {NOT_BUILT_FROM})
    return digest_of(
        [
            *([name, hashlib.sha256(files.open(name)).hexdigest()] for name in built_from),
            spec.model_copy(update={"files": {}}).model_dump(mode="json"),
            [measured.accuracy, measured.accuracy_se],
            files.settings.grid.model_dump(mode="json"),
            files.settings.family_seed,
            previous.digest if previous else None,
            [code_digest(compress, edge), torch.__version__, torch.cuda.is_available()],
        ]
    )


def build(files: Files, measured: Measured, previous: "Family | None") -> "Family":
    """Train, quantise and measure all students; minutes, with progress told to the vault."""
    import torch

    from stillhouse.compress.family import build_family
    from stillhouse.edge.recipe import with_measured_recipe

    torch.set_num_threads(1)  # the same bytes on every run
    version = files.version
    training = files.labelled()
    family = build_family(
        files.open("weights"),
        version.spec,
        training,
        files.recordings("transfer"),
        (measured.accuracy, measured.accuracy_se),
        version.spec.grid or files.settings.grid,
        files.settings.family_seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
        progress=lambda share: files.vault.note_progress.remote(version.name, share),
        previous=previous,
    )
    return with_measured_recipe(family, version.spec, training, files.settings.family_seed)


def announcement(version: VersionRow, measured: Measured, family: "Family") -> CentralModel:
    """The version as the feed announces it; its digest covers all that the owner gave."""
    spec = version.spec
    return CentralModel(
        name=version.name,
        version=version.version,
        digest=digest_of([version.name, version.version, spec.model_dump(mode="json")]),
        owner_id=version.owner_id,
        architecture=family.header.architecture,  # its blocks are ranked
        preprocessing=spec.preprocessing,
        labels=spec.labels,
        accuracy=measured.accuracy,
        accuracy_se=measured.accuracy_se,
        evaluation_set=measured.evaluation_set,
        size_bytes=measured.size_bytes,
        parameters=measured.parameters,
        family_digest=family.digest,
        updates=family.header.updates,
        transfer_inputs=family.public.digest(),
        transfer_input_bytes=len(family.public.to_bytes()),
        transfer_input_count=len(family.public),
    )
