"""Tasks that prefer a GPU run where there is none."""

from typing import Any

import pytest
import ray
from ray._common.ray_option_utils import validate_task_options

from cluster.placement import prefer_gpu


def test_a_gpu_node_comes_first_then_a_cpu_node_then_any() -> None:
    options: dict[str, Any] = {**prefer_gpu(num_cpus=2)}
    order = [
        options["label_selector"],
        *(x["label_selector"] for x in options["fallback_strategy"]),
    ]
    assert order == [{"tier": "gpu"}, {"tier": "cpu"}, {}]
    assert options["num_cpus"] == 2
    assert "num_gpus" not in options
    validate_task_options(options, in_options=True)


@pytest.mark.slow
def test_without_a_gpu_node_the_task_runs_on_a_cpu_node(ray_cluster: None) -> None:
    @ray.remote
    def tier() -> str | None:
        return ray.get_runtime_context().get_node_labels().get("tier")

    assert ray.get(tier.options(**prefer_gpu()).remote(), timeout=60) == "cpu"
