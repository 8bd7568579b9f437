"""Transformer encoders as torch modules: token ids in, an embedding or logits out."""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from torch import Tensor, arange, nn
from torch.nn import functional as F

from stillhouse.compress.encoder_layout import Encoder
from stillhouse.compress.groups import ChannelGroup


class Attention(nn.Module):
    """Attention of every token to all that the mask allows, added to its input and normalised."""

    def __init__(self, shape: Encoder) -> None:
        super().__init__()
        inside = shape.heads * shape.head_size
        self.heads, self.head_size = shape.heads, shape.head_size
        self.query = nn.Linear(shape.hidden, inside)
        self.key = nn.Linear(shape.hidden, inside)
        self.value = nn.Linear(shape.hidden, inside)
        self.output = nn.Linear(inside, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, shape.epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (self._split(p(x)) for p in (self.query, self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value, mask[:, None, None])
        y: Tensor = self.norm(x + self.output(seen.transpose(1, 2).flatten(2)))
        return y

    def _split(self, x: Tensor) -> Tensor:
        """[batch, tokens, heads * size] to [batch, heads, tokens, size]."""
        return x.view(*x.shape[:2], self.heads, self.head_size).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers around GELU, added to their input and normalised."""

    def __init__(self, shape: Encoder) -> None:
        super().__init__()
        self.first = nn.Linear(shape.hidden, shape.feed_forward)
        self.second = nn.Linear(shape.feed_forward, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, shape.epsilon)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x + self.second(F.gelu(self.first(x))))
        return y


class Layer(nn.Module):
    """Hidden states [batch, tokens, hidden] to the same, mask [batch, tokens] true of tokens."""

    def __init__(self, shape: Encoder) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.feed_forward = FeedForward(shape)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y: Tensor = self.feed_forward(self.attention(x, mask))
        return y


class TextEncoder(nn.Module):
    """Features or logits [batch, outputs] of ids [batch, 1, tokens], padded behind.

    Features are not normalised. The first token always counts, so that a text is never empty.
    """

    def __init__(self, shape: Encoder) -> None:
        super().__init__()
        self.pad = shape.pad
        self.words = nn.Embedding(shape.vocabulary, shape.hidden)
        self.positions = nn.Embedding(shape.positions, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, shape.epsilon)
        self.layers = nn.ModuleDict({str(number): Layer(shape) for number in shape.blocks})
        self.head = nn.Linear(shape.hidden, shape.outputs, bias=not shape.embeds)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask(x)
        hidden = self.embedded(x)
        for layer in self.blocks():
            hidden = layer(hidden, mask)
        return self.pooled(hidden, mask)

    def mask(self, x: Tensor) -> Tensor:
        """[batch, tokens], false where a text is over."""
        first = arange(x.shape[2], device=x.device) == 0
        return (x[:, 0] != self.pad) | first

    def embedded(self, x: Tensor) -> Tensor:
        """Hidden states [batch, tokens, hidden] before the first layer."""
        positions = self.positions.weight[: x.shape[2]]
        hidden: Tensor = self.norm(self.words(x[:, 0].long()) + positions)
        return hidden

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The head's outputs of a text's mean hidden state."""
        weight = mask.unsqueeze(2).to(hidden.dtype)
        y: Tensor = self.head((hidden * weight).sum(1) / weight.sum(1))
        return y

    def blocks(self) -> Iterable[Layer]:
        """In the order in which they compute."""
        return cast("Iterable[Layer]", self.layers.values())

    def stage_blocks(self) -> tuple[Mapping[int, nn.Module], ...]:
        """Every layer could be left out."""
        return ({int(number): layer for number, layer in self.layers.items()},)

    def ladder(self) -> tuple[nn.Module, ...]:
        """The embeddings, then each layer."""
        embeddings = nn.ModuleList((self.words, self.positions, self.norm))
        return (embeddings, *self.blocks())

    def channel_groups(self) -> Iterator[ChannelGroup]:
        """Each layer's heads and feed-forward channels, then the stream that runs through all."""
        writers: tuple[nn.Module, ...] = (self.words, self.positions, self.norm)
        readers: tuple[nn.Module, ...] = ()
        for layer in self.blocks():
            attention, inside = layer.attention, layer.feed_forward
            projections = (attention.query, attention.key, attention.value)
            yield ChannelGroup(projections, (attention.output,), attention.head_size)
            yield ChannelGroup((inside.first,), (inside.second,))
            writers += (attention.output, attention.norm, inside.second, inside.norm)
            readers += (*projections, inside.first)
        yield ChannelGroup(writers, (*readers, self.head))
