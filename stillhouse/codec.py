"""Frozen dataclasses to bytes and back, `ClassName {json}`, for a closed set of classes."""

from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import Base64UrlBytes, TypeAdapter

Blob = Base64UrlBytes  # the type of a row's field that holds bytes


class Codec:
    """Encodes instances of `classes` alone; decoding validates each field, nothing is unpickled."""

    def __init__(self, *classes: type) -> None:
        self._classes = classes
        self._adapters: dict[str, TypeAdapter[Any]] = {
            cls.__name__: TypeAdapter(cls) for cls in classes
        }

    def first_fields(self) -> Mapping[type, str]:
        """The name of each class's first field."""
        return {cls: next(iter(get_type_hints(cls))) for cls in self._classes}

    def encode(self, value: Any) -> bytes:
        name = type(value).__name__
        return name.encode() + b" " + self._adapters[name].dump_json(value)

    def decode(self, data: bytes) -> Any:
        name, _, body = data.partition(b" ")
        return self._adapters[name.decode()].validate_json(body)
