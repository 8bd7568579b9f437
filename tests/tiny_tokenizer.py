"""A tokeniser of seven words, as its Hugging Face JSON."""

import json

WORDS = ("[PAD]", "[UNK]", "the", "still", "house", "is", "warm")
TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "truncation": {
            "max_length": 99,
            "stride": 0,
            "strategy": "LongestFirst",
            "direction": "Right",
        },
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(WORDS)},
            "unk_token": "[UNK]",
        },
    }
)
