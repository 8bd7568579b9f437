"""Fetches one delivery: manifest, chunks in order, an ack for each; resumes wherever it was cut.

Nothing of a manifest is kept before all of it verified. A chunk collects record by record in a
file; whole and checked, it takes its place under its digest; only then is its ack made, kept, sent.
What the disk lost is fetched again, though the server knows it as acknowledged.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2

from stillhouse.chunks import made
from stillhouse.compress.deltas import apply_delta
from stillhouse.edge.slots import Accepted, Disk
from stillhouse.entities import KnowledgeChunk
from stillhouse.errors import TransferClosed, Unavailable, VerificationFailed
from stillhouse.wire.client import SignedClient
from stillhouse.wire.frame import Frame, FrameReader
from stillhouse.wire.identity import Identity
from stillhouse.wire.manifest import Manifest, open_manifest
from stillhouse.wire.messages import Ack, FetchWork
from stillhouse.wire.seal import SECRET_BYTES, ack, chunk_key, first_ack

PATIENCE = 20  # cuts in a row without a single new record
PAUSE_S = 0.25


class Fetcher:
    """One device's side of deliveries."""

    def __init__(
        self,
        http: SignedClient,
        identity: Identity,
        disk: Disk,
        manifest_keys: tuple[str, ...],
        client_id: str,
        *,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http, self._identity, self._disk = http, identity, disk
        self._manifest_keys, self._client_id = manifest_keys, client_id
        self._clock, self._pause = clock, pause

    def fetch(self, work: FetchWork) -> Manifest:
        """Everything that is left of the delivery; each ack moves the job's lease on."""
        manifest = self.begin(work)
        self.finish(work, manifest)
        return manifest

    def begin(self, work: FetchWork) -> Manifest:
        """What is left of the chunks that training needs first."""
        manifest = self.manifest(work)
        self._chunks(work, manifest, range(manifest.body.train_after + 1))
        return manifest

    def finish(self, work: FetchWork, manifest: Manifest) -> None:
        """What is left of the others; may run in another thread, over a client of its own."""
        body = manifest.body
        self._chunks(work, manifest, range(body.train_after + 1, len(body.chunks)))

    def over(self, http: SignedClient) -> "Fetcher":
        """The same fetcher over another client."""
        return Fetcher(
            http,
            self._identity,
            self._disk,
            self._manifest_keys,
            self._client_id,
            clock=self._clock,
            pause=self._pause,
        )

    def _chunks(self, work: FetchWork, manifest: Manifest, which: range) -> None:
        for index in which:
            entry, acks = manifest.body.chunks[index], self._disk.acks(work.delivery_id)
            if index >= len(acks) or not self._disk.has(made(entry.chunk).digest):
                acks = self._chunk(manifest, index, acks)
            if index >= work.next_chunk:
                path = f"/deliveries/{work.delivery_id}/acks"
                self._http.command("POST", path, Ack(index=index, ack=acks[index]))

    def manifest(self, work: FetchWork) -> Manifest:
        """Verified and accepted, or VerificationFailed and nothing kept."""
        known = self._disk.accepted(work.profile_id)
        path = f"/deliveries/{work.delivery_id}/manifest"
        envelope = self._http.send("GET", path, None, {}).content
        manifest = open_manifest(
            envelope,
            self._identity,
            self._manifest_keys,
            client_id=self._client_id,
            now=self._clock(),
            latest_version=known.version if known else 0,
        )
        header, body = manifest.header, manifest.body
        named = (header.delivery_id, header.profile_id, header.job_id)
        if named != (work.delivery_id, work.profile_id, work.job_id):
            raise VerificationFailed("the manifest is of another delivery")
        if sum(made(each.chunk).length for each in body.chunks) > body.storage_bytes:
            raise VerificationFailed("the delivery is larger than the profile's storage")
        self._accept(manifest, known)
        return manifest

    def _accept(self, manifest: Manifest, known: Accepted | None) -> None:
        header = manifest.header
        if known is None or known.version < header.version:
            accepted = Accepted(
                version=header.version,
                manifest=manifest.digest,
                delivery_id=header.delivery_id,
                job_id=header.job_id,
            )
            self._disk.accept(header.profile_id, accepted)
        elif known.manifest != manifest.digest:
            raise VerificationFailed(f"there was another manifest of version {known.version}")

    def _chunk(self, manifest: Manifest, index: int, acks: list[str]) -> list[str]:
        """Keep the chunk, then the proof that it was opened; all acks that are kept now."""
        file = self._disk.partial(manifest.header.delivery_id, index)
        payload = self._payload(manifest, index, file)
        chunk, secret = payload[:-SECRET_BYTES], payload[-SECRET_BYTES:]
        wanted = manifest.body.chunks[index].chunk
        if hashlib.sha256(chunk).hexdigest() != wanted.digest:
            file.unlink()  # the next try begins anew
            raise VerificationFailed(f"chunk {index} is not what the manifest promised")
        self._keep(wanted, chunk)
        if index == len(acks):
            previous = bytes.fromhex(acks[-1]) if acks else first_ack(manifest.digest)
            made = ack(bytes.fromhex(manifest.transfer_key), index, previous, secret)
            acks = [*acks, made.hex()]
            self._disk.keep_acks(manifest.header.delivery_id, acks)
        file.unlink()
        return acks

    def _keep(self, wanted: KnowledgeChunk, chunk: bytes) -> None:
        """The chunk, or what it makes of one that is here; the delta itself is of no more use."""
        kept = made(wanted)
        if wanted.base is not None:
            chunk = apply_delta(self._disk.chunk(wanted.base), chunk)
            if hashlib.sha256(chunk).hexdigest() != kept.digest:
                raise VerificationFailed("a delta does not make the chunk that it promised")
        self._disk.keep_chunk(kept.digest, chunk)

    def _payload(self, manifest: Manifest, index: int, file: Path) -> bytes:
        """Chunk and sealed end, from however many connections it takes."""
        entry, place = manifest.body.chunks[index], manifest.place(index)
        key = chunk_key(
            bytes.fromhex(manifest.transfer_key), place, bytes.fromhex(entry.payload_digest)
        )
        reader = FrameReader(place.frame(), key, records_in(file, place.frame()))
        cuts = 0
        while not reader.complete:
            before = reader.resume()
            cut = self._connect(manifest, index, reader, file)
            cuts = 0 if reader.next_record > before else cuts + 1
            if cuts > PATIENCE:
                raise Unavailable(f"chunk {index} broke off {cuts} times in a row: {cut}")
            if cut:
                self._pause(PAUSE_S)
        return file.read_bytes()

    def _connect(
        self, manifest: Manifest, index: int, reader: FrameReader, file: Path
    ) -> Exception | None:
        """One connection's worth of records into the file; what cut it, if it was cut."""
        path = f"/deliveries/{manifest.header.delivery_id}/chunks/{index}"
        query = f"from_record={reader.next_record}" if reader.next_record else ""
        url = manifest.header.chunk_urls[0]
        try:
            with self._http.stream(url, path, query) as parts, file.open("ab") as out:
                for part in parts:
                    for record in reader.feed(part):
                        append(out, record)
        except (httpx2.TransportError, httpx2.StreamError, Unavailable, TransferClosed) as error:
            return error
        return None


def records_in(file: Path, frame: Frame) -> int:
    """Whole records that an earlier run left in the file; a torn tail is cut off."""
    size = file.stat().st_size if file.exists() else 0
    if size == frame.length:
        return frame.records
    whole = size // frame.record_bytes
    if size:
        os.truncate(file, whole * frame.record_bytes)
    return whole


def append(file: BinaryIO, record: bytes) -> None:
    """Durable when it returns: a record that counts as there is there."""
    file.write(record)
    file.flush()
    os.fsync(file.fileno())
