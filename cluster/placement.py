"""Where tasks run: on a node labelled `tier=gpu` if one is free, else `tier=cpu`, else anywhere."""

from typing import TypedDict

Selector = dict[str, str]


class Placement(TypedDict):
    """Keyword arguments for `.options(...)` of a Ray task or actor."""

    num_cpus: float
    label_selector: dict[str, str]
    fallback_strategy: list[dict[str, Selector]]


def prefer_gpu(num_cpus: float = 1) -> Placement:
    """For tasks that are faster on a GPU and give the same result without: pick the device in code.

    No `num_gpus`: a fallback keeps it, and would wait for a GPU that no CPU node has.
    """
    return {
        "num_cpus": num_cpus,
        "label_selector": {"tier": "gpu"},
        "fallback_strategy": [{"label_selector": {"tier": "cpu"}}, {"label_selector": {}}],
    }
