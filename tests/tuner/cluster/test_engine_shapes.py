"""Engine shapes: how many engines a node gets, and what each of them may use."""

import pytest

from nst_core.lanes.device import CPU_LANES, GPU_LANES
from tuner.cluster.engine_shapes import shapes_of, worker_shapes


@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("engines", [1, 2, 3, 7, 8])
def test_engines_of_a_gpu_share_it_and_its_lanes(gpus: int, engines: int) -> None:
    """A node gets GPUs times engines; together they reserve each GPU once and have all lanes."""
    shapes = shapes_of({"GPU": gpus, "CPU": 64}, "auto", engines)
    assert len(shapes) == gpus * engines and {shape.device for shape in shapes} == {"cuda"}
    reserved = sum(shape.gpus for shape in shapes)
    assert gpus - 0.001 * gpus < reserved <= gpus
    for asked, of_one_gpu in ((None, GPU_LANES), (64, 64), (engines, engines)):
        lanes = [shape.lanes(number, asked) for number, shape in enumerate(shapes)]
        assert sum(lanes) == gpus * of_one_gpu
        assert min(lanes) >= 1 and max(lanes) - min(lanes) <= 1


@pytest.mark.parametrize("cores", [0, 1, 2, 64])
def test_engines_of_a_gpu_fit_on_the_cores_of_their_node(cores: int) -> None:
    """Engines on GPUs never reserve more cores than their node has, and half a core at most."""
    shapes = shapes_of({"GPU": 1, "CPU": cores}, "cuda", 4)
    assert len(shapes) == 4
    assert sum(shape.cpus for shape in shapes) <= cores
    assert max(shape.cpus for shape in shapes) <= 0.5


def test_engines_per_gpu_leaves_cpu_engines_alone() -> None:
    """On cores, the number of engines and their lanes do not depend on engines per GPU."""
    shapes = shapes_of({"CPU": 2}, "auto", 4)
    assert shapes == shapes_of({"CPU": 2}, "auto") and len(shapes) == 2
    assert [shape.lanes(number, None) for number, shape in enumerate(shapes)] == [CPU_LANES] * 2
    assert not any(shape.gpus for shape in shapes)


@pytest.mark.parametrize(
    ("resources", "device", "gpus", "cpus", "expected"),
    [
        ({"CPU": 8}, "auto", None, 2, [("cpu", 0.0)] * 4),
        ({"CPU": 8, "GPU": 2}, "auto", 0.5, 2, [("cuda", 0.5)] * 4),
        ({"CPU": 4, "GPU": 2}, "auto", 0.5, 2, [("cuda", 0.5)] * 2),
        ({"CPU": 8, "GPU": 2}, "auto", None, 1, [("cuda", 1.0)] * 2),
        ({"CPU": 8, "GPU": 2}, "cpu", None, 4, [("cpu", 0.0)] * 2),
        ({"CPU": 8, "GPU": 4}, "cuda", 2, 1, [("cuda", 2.0)] * 2),
        ({"CPU": 8}, "auto", 0.5, 1, []),
        ({"CPU": 1}, "auto", None, 2, []),
    ],
)
def test_each_process_of_a_stylizer_has_its_cores_and_its_part_of_a_gpu(
    resources: dict[str, float],
    device: str,
    gpus: float | None,
    cpus: int,
    expected: list[tuple[str, float]],
) -> None:
    """A node gets as many processes as have room, each for one trial at a time."""
    shapes = worker_shapes(resources, device, gpus, cpus)
    assert [(shape.device, shape.gpus) for shape in shapes] == expected
    assert {shape.threads for shape in shapes} <= {cpus}
    assert {shape.lanes(0, None) for shape in shapes} <= {1}
    assert sum(shape.cpus for shape in shapes) <= resources["CPU"]
