"""StepGraph: a step recorded once and launched as a whole from then on, as a CUDA graph.

At small sizes an eager step waits for the host, which launches several hundred kernels one by one;
a recorded step is one launch (Nguyen et al., "Accelerating PyTorch with CUDA Graphs", PyTorch blog,
2021). Recording takes some steps' time, and has to be done anew when a lane comes or goes. The
limits below are reasoned, not measured: no GPU was at hand.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

#: Set to 0 to take every step eagerly.
SWITCH = "NST_TUNER_CUDA_GRAPHS"

#: Eager steps of an assembly before its step is recorded: recording runs a step twice, so it costs
#: about a fifth of what was spent already, however soon the next lane comes or goes.
EAGER_STEPS = 10

#: Pixels of all lanes together above which computing takes longer than launching, so that there is
#: nothing to win for the memory that a graph holds: VGG16 takes 1.2 MFLOP a pixel and step
#: (`python -m benchmarks.roofline`), so these take a large GPU about 10 ms, more than its launches.
MOST_PIXELS = 2**21

#: Steps after which a recorded step is compared with an eager one, and how far their losses may be
#: apart: a value of the host that got into the recording shows from the second step on.
CHECKED_STEPS = 2
TOLERANCE = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2, "float16": 5e-2}

#: A step of tensors: takes what moves, gives losses and what moves, and changes neither.
Step = Callable[[Sequence[Tensor]], tuple[list[Tensor], list[Tensor]]]
#: Records a function that writes to fixed tensors; gives a replay of it on these.
Recorder = Callable[[Callable[[Sequence[Tensor]], list[Tensor]], Sequence[Tensor]], "Replay"]
Replay = Callable[[], list[Tensor]]

_log = logging.getLogger(__name__)


class StepGraph:
    """A recorded step with the tensors that it moves, in place.

    Args:
        step: what to record.
        moving: where to begin; left alone.
        record: how.

    Attributes:
        moving: as they stand; the next `launch` changes them.
    """

    def __init__(self, step: Step, moving: Sequence[Tensor], record: Recorder):
        self.moving = [tensor.clone() for tensor in moving]

        def in_place(fixed: Sequence[Tensor]) -> list[Tensor]:
            losses, after = step(fixed)
            places = {tensor.data_ptr() for tensor in fixed}
            pairs = zip(fixed, after, strict=True)
            changed = [(old, new) for old, new in pairs if old.data_ptr() != new.data_ptr()]
            # What only changes its place must be out of it before that is written.
            saved = [new.clone() if new.data_ptr() in places else new for _, new in changed]
            for (old, _), new in zip(changed, saved, strict=True):
                old.copy_(new)
            return losses

        self._replay = record(in_place, self.moving)

    def launch(self) -> list[Tensor]:
        """Take a step; gives its losses, which the next launch overwrites."""
        return self._replay()


class StepGraphs:
    """Decides where a recorded step pays, and takes none on trust.

    Args:
        record: how steps are recorded.
        eager_steps: see `EAGER_STEPS`.
    """

    def __init__(self, record: Recorder | None = None, eager_steps: int = EAGER_STEPS):
        self._record = record or _CudaRecorder()
        self._eager_steps = eager_steps
        self._trusted: set[Hashable] = set()
        self._refused: set[Hashable] = set()

    @classmethod
    def for_device(cls, device: torch.device) -> StepGraphs | None:
        """Where the device has graphs and they are not switched off."""
        wanted = device.type == "cuda" and os.environ.get(SWITCH, "1") != "0"
        return cls() if wanted else None

    def record(
        self, step: Step, moving: Sequence[Tensor], *, kind: Hashable, taken: int, precision: str
    ) -> StepGraph | None:
        """A recorded step, or None where it does not pay, or does not work.

        Args:
            step: to be recorded.
            moving: what it moves, pixels_N3HW first.
            kind: what one recording in can speak for; the first of a kind is compared with eager
                steps.
            taken: eager steps since the lanes came together.
            precision: of the network.
        """
        lanes, _, height, width = moving[0].shape
        if taken < self._eager_steps or lanes * height * width > MOST_PIXELS:
            return None
        if kind in self._refused:
            return None
        try:
            graph = StepGraph(step, moving, self._record)
            if kind in self._trusted:
                return graph
            self._check(graph, step, moving, TOLERANCE[precision])
            del graph  # it has moved on; its memory is for the one that begins anew
        except RuntimeError as error:  # of CUDA, while it records, or ours
            reason = str(error).splitlines()[0]
            _log.warning("steps of %s are taken one kernel at a time: %s", kind, reason)
            self._refused.add(kind)
            return None
        self._trusted.add(kind)
        return StepGraph(step, moving, self._record)

    @staticmethod
    def _check(graph: StepGraph, step: Step, moving: Sequence[Tensor], tolerance: float) -> None:
        """Raise RuntimeError unless the graph goes where eager steps go."""
        after = list(moving)
        for _ in range(CHECKED_STEPS):
            expected, after = step(after)
            found = graph.launch()
        for one, other in zip(found, expected, strict=True):
            if not torch.allclose(one, other, rtol=tolerance, atol=1e-12, equal_nan=True):
                raise RuntimeError("a recorded step differs from an eager one")


class _CudaRecorder:
    """Records on a stream of its own; all recordings share it and one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # One for all: libraries keep working memory for every stream that they ever ran on.
        self._stream: torch.cuda.Stream | None = None

    def __call__(
        self, function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
    ) -> Replay:
        # Libraries prepare for a stream when they first run on it, which cannot be recorded.
        stream = self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function([tensor.clone() for tensor in fixed])
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Scores are computed by another thread meanwhile, which may ask for memory.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
        ):
            outputs = function(fixed)

        def replay() -> list[Tensor]:
            graph.replay()
            return outputs

        return replay
