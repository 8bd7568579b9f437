"""A deterministic simulator of the control core: real rules, store, desk and journal, false world.

`story.py` draws a story from a seed, `world.py` plays it with `process.py` (a shard that can crash
between any two stages), `disk.py` (a journal that fails), `devices.py`, `tasks.py` and `feed.py`;
`witness.py` and `ledger.py` judge every commit and every answer; `shrinking.py` makes a failing
story short; `seeds.py` runs many. `python3 -m benchmarks.simulation --seeds 10000`.
"""
