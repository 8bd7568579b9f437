"""Transformer encoders as BERT's: embeddings, layers of attention and feed-forward, mean pool."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any, Self

from pydantic import Field, model_validator

from stillhouse.compress.layout import Network, Role, TensorLayout, kept, whole_ranking
from stillhouse.errors import Invalid


class Encoder(Network):
    """A transformer encoder over token ids, normalised after each half of a layer (1810.04805).

    It embeds (`features`) or classifies (`classes`). A narrower student keeps the first heads of
    each layer, whole; the embedding's own size stays, the head leads there.
    """

    vocabulary: int = Field(default=30522, ge=2, le=1 << 20)
    positions: int = Field(default=128, ge=1, le=1 << 14, description="tokens of a text at most")
    hidden: int = Field(default=384, ge=1, le=1 << 14)
    heads: int = Field(default=12, ge=1, le=256)
    head_size: int = Field(default=32, ge=1, le=1024)
    feed_forward: int = Field(default=1536, ge=1, le=1 << 16)
    layers: int = Field(default=6, ge=1, le=256)
    order: tuple[int, ...] = Field(default=(), max_length=256, description="ranking of the layers")
    epsilon: float = Field(default=1e-12, gt=0, lt=1, description="of the norms' variance")
    pad: int = Field(default=0, ge=0, le=1 << 20, description="id of no token")
    features: int = Field(default=384, ge=0, le=1 << 14, description="0: it classifies")
    classes: int = Field(default=0, ge=0, le=1 << 16, description="0: it embeds")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        order = self.order
        if order and (sorted(order) != list(range(len(order))) or len(order) < self.layers):
            raise ValueError("a ranking names each layer once")
        if bool(self.features) == bool(self.classes):
            raise ValueError("an encoder has either features or classes")
        if self.pad >= self.vocabulary:
            raise ValueError("the padding is no id of the vocabulary")
        return self

    @property
    def depths(self) -> tuple[int, ...]:
        return (self.layers,)

    @property
    def rankings(self) -> tuple[tuple[int, ...], ...]:
        return (whole_ranking(self.order, self.layers),)

    @property
    def blocks(self) -> tuple[int, ...]:
        """The layers that are kept, by their numbers in the full network."""
        return kept(self.rankings[0], self.layers)

    @property
    def axes(self) -> int:
        return 1

    @property
    def outputs(self) -> int:
        return self.features or self.classes

    @property
    def embeds(self) -> bool:
        return self.features > 0

    def check_windows(self, window: int, *, discrete: bool) -> None:
        if not discrete:
            raise Invalid("an encoder takes token ids: the preprocessing must be discrete")
        if window > self.positions:
            raise Invalid(f"a window of {window} tokens for {self.positions} positions")

    def ranked(self, rankings: tuple[tuple[int, ...], ...]) -> Self:
        return self.model_copy(update={"order": rankings[0]})

    def _narrower(self, width: float) -> Mapping[str, Any]:
        return {
            "hidden": self.share(self.hidden, width),
            "heads": ceil(round(self.heads * width, 6)),
            "feed_forward": self.share(self.feed_forward, width),
        }

    def _shallower(self, depths: tuple[int, ...]) -> Mapping[str, Any]:
        return {"layers": depths[0], "order": self.rankings[0]}

    def tensors(self) -> tuple[TensorLayout, ...]:
        hidden, inside = self.hidden, self.heads * self.head_size
        return (
            TensorLayout("words.weight", (self.vocabulary, hidden), Role.WEIGHT),
            TensorLayout("positions.weight", (self.positions, hidden), Role.WEIGHT),
            *_norm("norm", hidden),
            *(tensor for block in self.blocks for tensor in self._layer(f"layers.{block}", inside)),
            TensorLayout("head.weight", (self.outputs, hidden), Role.WEIGHT),
            *(() if self.embeds else (TensorLayout("head.bias", (self.classes,), Role.VECTOR),)),
        )

    def _layer(self, name: str, inside: int) -> Iterator[TensorLayout]:
        hidden = self.hidden
        for part in ("query", "key", "value"):
            yield from _linear(f"{name}.attention.{part}", inside, hidden)
        yield from _linear(f"{name}.attention.output", hidden, inside)
        yield from _norm(f"{name}.attention.norm", hidden)
        yield from _linear(f"{name}.feed_forward.first", self.feed_forward, hidden)
        yield from _linear(f"{name}.feed_forward.second", hidden, self.feed_forward)
        yield from _norm(f"{name}.feed_forward.norm", hidden)


def _linear(name: str, outputs: int, inputs: int) -> Iterator[TensorLayout]:
    yield TensorLayout(f"{name}.weight", (outputs, inputs), Role.WEIGHT)
    yield TensorLayout(f"{name}.bias", (outputs,), Role.VECTOR)


def _norm(name: str, channels: int) -> Iterator[TensorLayout]:
    yield TensorLayout(f"{name}.weight", (channels,), Role.VECTOR)
    yield TensorLayout(f"{name}.bias", (channels,), Role.VECTOR)
