"""Residual networks over time and over images: a stem, two stages of blocks, mean pool, linear."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stillhouse.compress.layout import Network, Role, TensorLayout, kept, whole_ranking
from stillhouse.errors import Invalid


class ResNet1d(Network):
    """A residual network over time.

    The first block of each stage halves time and changes channels, so every student keeps it.
    """

    inputs: int = Field(default=6, ge=1, le=1024)
    classes: int = Field(default=7, ge=2, le=1 << 16)
    channels1: int = Field(default=32, ge=1, le=4096)
    channels2: int = Field(default=64, ge=1, le=4096)
    blocks1: int = Field(default=3, ge=1, le=64)
    blocks2: int = Field(default=3, ge=1, le=64)
    kernel: Literal[1, 3, 5, 7, 9, 11] = 5
    stride: Literal[1, 2] = Field(default=2, description="of the stem")
    order1: tuple[int, ...] = Field(default=(), max_length=64, description="ranking of the blocks")
    order2: tuple[int, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _rankings_are_whole(self) -> Self:
        for order, blocks in ((self.order1, self.blocks1), (self.order2, self.blocks2)):
            if order and (sorted(order) != list(range(len(order))) or len(order) < blocks):
                raise ValueError("a ranking names each block once")
            if order and order[0] != 0:
                raise ValueError("the first block of a stage cannot be left out")
        return self

    @property
    def depths(self) -> tuple[int, ...]:
        return self.blocks1, self.blocks2

    @property
    def rankings(self) -> tuple[tuple[int, ...], ...]:
        return whole_ranking(self.order1, self.blocks1), whole_ranking(self.order2, self.blocks2)

    @property
    def axes(self) -> int:
        return self.inputs

    @property
    def outputs(self) -> int:
        return self.classes

    @property
    def embeds(self) -> bool:
        return False

    @property
    def stages(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Channels of each stage, and the blocks that it keeps."""
        channels = (self.channels1, self.channels2)
        blocks = (kept(r, d) for r, d in zip(self.rankings, self.depths, strict=True))
        return tuple(zip(channels, blocks, strict=True))

    def ranked(self, rankings: tuple[tuple[int, ...], ...]) -> Self:
        order1, order2 = rankings
        return self.model_copy(update={"order1": order1, "order2": order2})

    def _narrower(self, width: float) -> Mapping[str, Any]:
        names = ("channels1", "channels2")
        return {name: self.share(getattr(self, name), width) for name in names}

    def _shallower(self, depths: tuple[int, ...]) -> Mapping[str, Any]:
        order1, order2 = self.rankings
        return {"blocks1": depths[0], "blocks2": depths[1], "order1": order1, "order2": order2}

    def window(self, kernel: int) -> tuple[int, ...]:
        """The last axes of a convolution's weight."""
        return (kernel,)

    def tensors(self) -> tuple[TensorLayout, ...]:
        found = self._unit("stem", self.channels1, self.inputs)
        inputs = self.channels1
        for stage, (channels, blocks) in enumerate(self.stages):
            for block in blocks:
                name = f"stages.{stage}.{block}"
                found += self._unit(f"{name}.first", channels, inputs)
                found += self._unit(f"{name}.second", channels, channels)
                if block == 0:
                    shape = (channels, inputs, *self.window(1))
                    found.append(TensorLayout(f"{name}.shortcut.weight", shape, Role.WEIGHT))
                inputs = channels
        found.append(TensorLayout("head.weight", (self.classes, inputs), Role.WEIGHT))
        found.append(TensorLayout("head.bias", (self.classes,), Role.VECTOR))
        return tuple(found)

    def _unit(self, name: str, channels: int, inputs: int) -> list[TensorLayout]:
        """A convolution without bias and its batch norm."""
        norm = (
            ("weight", Role.VECTOR),
            ("bias", Role.VECTOR),
            ("running_mean", Role.STATISTIC),
            ("running_var", Role.STATISTIC),
        )
        shape = (channels, inputs, *self.window(self.kernel))
        return [
            TensorLayout(f"{name}.convolution.weight", shape, Role.WEIGHT),
            *(TensorLayout(f"{name}.norm.{part}", (channels,), role) for part, role in norm),
        ]


class ResNet2d(ResNet1d):
    """The same over images: each input is [colours, rows * columns], row by row."""

    inputs: int = Field(default=1, ge=1, le=1024)
    classes: int = Field(default=10, ge=2, le=1 << 16)
    kernel: Literal[1, 3, 5, 7, 9, 11] = 3
    rows: int = Field(default=28, ge=1, le=1024)
    columns: int = Field(default=28, ge=1, le=1024)

    def window(self, kernel: int) -> tuple[int, ...]:
        return (kernel, kernel)

    def check_windows(self, window: int, *, discrete: bool) -> None:
        super().check_windows(window, discrete=discrete)
        if window != self.rows * self.columns:
            raise Invalid(f"a window of {window} pixels for {self.rows} rows x {self.columns}")
