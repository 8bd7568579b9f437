"""Frozen dataclasses to bytes and back, `ClassName {json}`, for a closed set of classes."""

from typing import Any

from pydantic import Base64UrlBytes, TypeAdapter

Blob = Base64UrlBytes  # the type of a row's field that holds bytes


class Codec:
    """Encodes instances of `classes` alone; decoding validates each field, nothing is unpickled."""

    def __init__(self, *classes: type) -> None:
        self._adapters: dict[str, TypeAdapter[Any]] = {
            cls.__name__: TypeAdapter(cls) for cls in classes
        }

    def encode(self, value: Any) -> bytes:
        name = type(value).__name__
        return name.encode() + b" " + self._adapters[name].dump_json(value)

    def decode(self, data: bytes) -> Any:
        name, _, body = data.partition(b" ")
        return self._adapters[name.decode()].validate_json(body)
