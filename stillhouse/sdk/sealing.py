"""What an owner uploads leaves this process sealed to the cluster."""

import hashlib
from collections.abc import Mapping

from stillhouse.entities import CentralModelSpec
from stillhouse.wire.seal import seal_artefact


def seal_files(name: str, files: Mapping[str, bytes], cluster_key: str) -> dict[str, bytes]:
    """Each file sealed to the cluster's public key (hexadecimal), bound to the model's name."""
    key = bytes.fromhex(cluster_key)
    return {file: seal_artefact(data, key, f"upload/{name}/{file}") for file, data in files.items()}


def digests(spec: CentralModelSpec, sealed: Mapping[str, bytes]) -> CentralModelSpec:
    """The spec with the digests of the sealed files."""
    found = {file: hashlib.sha256(data).hexdigest() for file, data in sealed.items()}
    return spec.model_copy(update={"files": found})
