"""Sealed records: a byte string as records of AES-256-GCM that can be resumed at any record.

STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar, 2015): the nonce is the record's counter
and a last flag, so records can be neither dropped, reordered nor cut off at the end. The associated
data are the whole header, a function of what is sealed alone: sealing again gives the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stillhouse.errors import VerificationFailed

RECORD_BYTES = 1 << 20
TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class Frame:
    """How one byte string is cut into records; `header` binds them to their purpose."""

    header: bytes
    length: int  # of the plaintext
    record_bytes: int = RECORD_BYTES

    @property
    def records(self) -> int:
        """At least one: an empty string has an empty last record."""
        return max(1, -(-self.length // self.record_bytes))

    @property
    def wire_length(self) -> int:
        return self.length + TAG_BYTES * self.records

    def size(self, record: int) -> int:
        """Plaintext bytes of a record."""
        return min(self.record_bytes, self.length - record * self.record_bytes)

    def nonce(self, record: int) -> bytes:
        return record.to_bytes(11, "big") + bytes([record == self.records - 1])


def seal(frame: Frame, key: bytes, plaintext: memoryview, first: int = 0) -> Iterator[memoryview]:
    """Records from `first` on, each in a buffer of its own."""
    if not 0 <= first < frame.records:
        raise VerificationFailed(f"there are {frame.records} records, none is {first}")
    aead = AESGCM(key)
    for record in range(first, frame.records):
        start = record * frame.record_bytes
        part = plaintext[start : start + frame.size(record)]
        buffer = bytearray(len(part) + TAG_BYTES)
        aead.encrypt_into(frame.nonce(record), part, frame.header, buffer)
        yield memoryview(buffer)


class FrameReader:
    """Opens records as their bytes arrive, in pieces of any size; VerificationFailed on any change.

    `next_record` is where to resume after a cut: what was opened before stays valid.
    """

    def __init__(self, frame: Frame, key: bytes, first: int = 0) -> None:
        self.frame = frame
        self.next_record = first
        self._aead = AESGCM(key)
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plaintext of every record that is complete with `data`."""
        self._waiting += data
        while self.next_record < self.frame.records:
            size = self.frame.size(self.next_record) + TAG_BYTES
            if len(self._waiting) < size:
                return
            yield self._open(bytes(self._waiting[:size]))
            del self._waiting[:size]
        if self._waiting:
            raise VerificationFailed("bytes after the last record")

    def resume(self) -> int:
        """Forget the half of a record that came before a cut; the record to ask for."""
        self._waiting.clear()
        return self.next_record

    @property
    def complete(self) -> bool:
        return self.next_record == self.frame.records

    def _open(self, sealed: bytes) -> bytes:
        nonce = self.frame.nonce(self.next_record)
        try:
            plaintext = self._aead.decrypt(nonce, sealed, self.frame.header)
        except InvalidTag:
            raise VerificationFailed(f"record {self.next_record} does not verify") from None
        self.next_record += 1
        return plaintext


def open_all(frame: Frame, key: bytes, sealed: bytes) -> bytes:
    """The whole plaintext of a sealed byte string that is there already."""
    reader = FrameReader(frame, key)
    plaintext = b"".join(reader.feed(sealed))
    if not reader.complete:
        raise VerificationFailed("the end is missing")
    return plaintext
