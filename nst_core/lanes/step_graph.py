"""StepGraph: an optimization step that is recorded once as a CUDA graph and then replayed.

At small image sizes an eager step waits for the host, which launches several hundred kernels one by
one; a replayed step is a single launch (Nguyen et al., "Accelerating PyTorch with CUDA Graphs",
PyTorch blog, 2021). Recording takes as long as several steps, and it must be repeated whenever a
lane joins or leaves the batch. The limits below were derived on paper, not measured on a GPU.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Sequence
from functools import cache

import torch
from torch import Tensor

#: Environment variable; 0 turns recording off, so that every step is eager.
SWITCH = "NST_TUNER_CUDA_GRAPHS"

#: Eager steps of an assembly before its step is recorded. Recording runs a step twice, so it adds
#: about a fifth to the time already spent, however soon the next lane joins or leaves.
EAGER_STEPS = 10

#: Largest number of pixels, over all lanes, for which a step is recorded. VGG16 takes 1.2 MFLOP per
#: pixel and step (`python -m benchmarks.roofline`), so a step of this size takes a large GPU about
#: 10 ms, which is longer than the launches: a graph would take memory and save no time.
MAX_PIXELS = 2**21

#: Number of steps after which a new recording is compared with eager steps. A host value that was
#: recorded by mistake changes the losses from the second step on.
CHECKED_STEPS = 2
#: Largest relative difference of the losses in this comparison, by `StyleConfig.precision`.
TOLERANCE = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2, "float16": 5e-2}

#: A step as a pure function: state tensors -> (losses, new state tensors). It changes no argument.
Step = Callable[[Sequence[Tensor]], tuple[list[Tensor], list[Tensor]]]
#: Replays a recorded function on its fixed tensors and returns its outputs.
Replay = Callable[[], list[Tensor]]
#: Records a function of fixed tensors; returns its replay.
Recorder = Callable[[Callable[[Sequence[Tensor]], list[Tensor]], Sequence[Tensor]], Replay]

_log = logging.getLogger(__name__)


class StepGraph:
    """A recorded step and the state tensors that it updates in place.

    Args:
        step: the step to record.
        state: the state before the first step; it is copied.
        record: how to record the step.

    Attributes:
        state: the current state; the next `launch` overwrites it.
    """

    def __init__(self, step: Step, state: Sequence[Tensor], record: Recorder):
        self.state = [tensor.clone() for tensor in state]

        def in_place(fixed: Sequence[Tensor]) -> list[Tensor]:
            losses, new_state = step(fixed)
            addresses = {tensor.data_ptr() for tensor in fixed}
            pairs = zip(fixed, new_state, strict=True)
            changed = [(old, new) for old, new in pairs if old.data_ptr() != new.data_ptr()]
            # A new value may live in another tensor of the state: copy it before it is overwritten.
            values = [new.clone() if new.data_ptr() in addresses else new for _, new in changed]
            for (old, _), value in zip(changed, values, strict=True):
                old.copy_(value)
            return losses

        self._replay = record(in_place, self.state)

    def launch(self) -> list[Tensor]:
        """Take one step and return its losses; the next launch overwrites them."""
        return self._replay()


class StepGraphs:
    """Decides which steps to record, and compares new kinds of recordings with eager steps.

    Args:
        record: how to record steps; the default is a CUDA graph.
        eager_steps: see `EAGER_STEPS`.
    """

    def __init__(self, record: Recorder | None = None, eager_steps: int = EAGER_STEPS):
        self._record = record or _CudaRecorder()
        self._eager_steps = eager_steps
        self._trusted: set[Hashable] = set()
        self._refused: set[Hashable] = set()

    @staticmethod
    @cache  # all batches share the checks, one stream and one memory pool
    def for_device(device: torch.device) -> StepGraphs | None:
        """Return this process's recorder for a device, or None if steps are not recorded there."""
        enabled = device.type == "cuda" and os.environ.get(SWITCH, "1") != "0"
        return StepGraphs() if enabled else None

    def record(
        self, step: Step, state: Sequence[Tensor], *, kind: Hashable, taken: int, precision: str
    ) -> StepGraph | None:
        """Return a recorded step, or None if recording would not save time or does not work.

        Args:
            step: the step to record.
            state: its state tensors, pixels_N3HW first.
            kind: everything on which it depends whether a recording is correct; only the first
                recording of a kind is compared with eager steps.
            taken: eager steps since the last lane joined or left the batch.
            precision: precision of the network, a key of `TOLERANCE`.
        """
        lanes, _, height, width = state[0].shape
        if taken < self._eager_steps or lanes * height * width > MAX_PIXELS:
            return None
        if kind in self._refused:
            return None
        try:
            graph = StepGraph(step, state, self._record)
            if kind in self._trusted:
                return graph
            self._check(graph, step, state, TOLERANCE[precision])
            del graph  # the check advanced its state; free its memory for a new recording
        except RuntimeError as error:  # from CUDA while it records, or from `_check`
            reason = str(error).splitlines()[0]
            _log.warning("steps of %s are not recorded as CUDA graphs: %s", kind, reason)
            self._refused.add(kind)
            return None
        self._trusted.add(kind)
        return StepGraph(step, state, self._record)

    @staticmethod
    def _check(graph: StepGraph, step: Step, state: Sequence[Tensor], tolerance: float) -> None:
        """Raise RuntimeError if losses of the graph differ from losses of eager steps."""
        for _ in range(CHECKED_STEPS):
            eager_losses, state = step(state)
            graph_losses = graph.launch()
        for recorded, eager in zip(graph_losses, eager_losses, strict=True):
            if not torch.allclose(recorded, eager, rtol=tolerance, atol=1e-12, equal_nan=True):
                raise RuntimeError("a recorded step differs from an eager one")


class _CudaRecorder:
    """Records CUDA graphs; all recordings share one stream and one memory pool."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # One stream for all: CUDA libraries keep a workspace for every stream they ever ran on.
        self._stream: torch.cuda.Stream | None = None

    def __call__(
        self, function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
    ) -> Replay:
        # CUDA libraries initialize when they first run on a stream, which cannot be recorded.
        stream = self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function([tensor.clone() for tensor in fixed])
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": the scoring thread may allocate memory while this thread records.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
        ):
            outputs = function(fixed)

        def replay() -> list[Tensor]:
            graph.replay()
            return outputs

        return replay
