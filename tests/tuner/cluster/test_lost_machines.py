"""Engine loss: machines that are lost or have too little memory, on a real Ray cluster."""

import pytest
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tests.tuner.cluster.dying_engine import dying_engine, reason_after_death
from tests.tuner.processes import cluster_with_head


@pytest.mark.faults
def test_low_memory_and_a_lost_node_are_named() -> None:
    """If Ray stops an engine for lack of memory, or its node is lost, the sentence says so."""
    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
    always_low = {"memory_usage_threshold": 0.0, "memory_monitor_refresh_ms": 100}
    with cluster_with_head(0, _system_config={**quick, **always_low}) as cluster:
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            assert reason_after_death(dying_engine()).startswith("was stopped by Ray, because the")
            node = cluster.add_node(num_cpus=1)
            affinity = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
            engine = dying_engine(scheduling_strategy=affinity)
            cluster.remove_node(node, allow_graceful=False)
            assert reason_after_death(engine) == "was lost with its machine"
        finally:
            ray.shutdown()
