"""Texts as windows of token ids."""

import numpy as np
import pytest
from tiny_tokenizer import TOKENIZER

from stillhouse.compress.recordings import UNLABELLED
from stillhouse.compress.texts import TextWindows
from stillhouse.errors import UnsupportedFormat

pytest.importorskip("tokenizers", reason="the extra `text`")

TEXTS = TextWindows(TOKENIZER, window=4, pad=0)


def test_short_texts_are_padded_and_long_ones_cut_whatever_the_file_says() -> None:
    ids = TEXTS.ids(["The house", "the still house is warm"])
    assert ids.dtype == np.float32
    assert ids.tolist() == [[2, 4, 0, 0], [2, 3, 4, 5]]


def test_each_text_is_one_window_with_its_label_and_source() -> None:
    recordings = TEXTS.recordings(
        ["the house", "warm", "unheard words"], [1, UNLABELLED, 0], [7, 7, 9]
    )
    x, labels, owner = recordings.windows(TEXTS.preprocessing)
    assert x[:, 0].tolist() == [[2, 4, 0, 0], [6, 0, 0, 0], [1, 1, 0, 0]]
    assert labels.tolist() == [1, UNLABELLED, 0]
    assert recordings.sources[owner].tolist() == [7, 7, 9]


def test_ids_come_back_from_parquet_unchanged() -> None:
    recordings = TEXTS.recordings(["the house", "warm"], [1, 0], [0, 1])
    again = type(recordings).from_parquet(recordings.to_parquet())
    assert np.array_equal(again.samples, recordings.samples)


def test_no_texts_are_no_recordings() -> None:
    assert len(TEXTS.recordings([], [], [])) == 0


@pytest.mark.parametrize("text", ["", "{}", "\x80\x04."])
def test_what_is_no_tokeniser_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedFormat, match=r"tokenizer\.json"):
        TextWindows(text, window=4, pad=0).ids(["the house"])
