"""Texts as recordings: each is one window of token ids, cut or padded to the same length.

The tokeniser is data: the `tokenizer.json` of a Hugging Face directory, read by the `tokenizers`
package (extra `text`), which runs none of its author's code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.compress.quantize import Floats
from stillhouse.compress.recordings import Recordings
from stillhouse.entities import Preprocessing
from stillhouse.errors import UnsupportedFormat


@dataclass(frozen=True, slots=True)
class TextWindows:
    """How texts become windows: `tokenizer` is the JSON, `window` the tokens of each text."""

    tokenizer: str
    window: int
    pad: int

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(
            window=self.window, step=self.window, mean=(0,), deviation=(1,), discrete=True
        )

    def ids(self, texts: Sequence[str]) -> Floats:
        """Token ids [texts, window] as float32, which holds every id below 2**24.

        Raises UnsupportedFormat if the JSON is no tokeniser.
        """
        from tokenizers import Tokenizer  # the extra `text`: no device needs it to run a student

        try:
            tokenizer = Tokenizer.from_str(self.tokenizer)
        except Exception as error:  # the package raises nothing narrower
            raise UnsupportedFormat(f"tokenizer.json: {error}") from None
        tokenizer.enable_truncation(max_length=self.window)
        tokenizer.enable_padding(length=self.window, pad_id=self.pad)
        encoded = [e.ids for e in tokenizer.encode_batch(list(texts))]
        return np.array(encoded, np.float32).reshape(len(texts), self.window)

    def recordings(self, texts: Sequence[str], labels: ArrayLike, sources: ArrayLike) -> Recordings:
        """A recording a text, with its label (a class or UNLABELLED) and its source."""
        starts = np.arange(len(texts)) * self.window
        return Recordings(
            samples=self.ids(texts).reshape(-1, 1),
            spans=np.stack([starts, starts + self.window], axis=1),
            labels=np.asarray(labels, np.int64),
            sources=np.asarray(sources, np.int64),
        )
