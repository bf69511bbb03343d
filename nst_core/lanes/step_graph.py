"""StepGraph: an optimization step that is recorded once as a CUDA graph and then replayed.

At small image sizes an eager step waits for the host, which launches several hundred kernels one by
one; a replayed step is a single launch (Nguyen et al., "Accelerating PyTorch with CUDA Graphs",
PyTorch blog, 2021). Recording takes as long as several steps, and it must be repeated whenever a
lane joins or leaves the batch. The limits below were derived on paper, not measured on a GPU, and
no recording has run on one yet: `CUDA_GRAPHS_VARIABLE` turns recording on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from functools import cache

import torch
from torch import Tensor

from nst_core.lanes.device import cuda_graphs_enabled, first_line

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
#: The same for the movement of each lane's state. Both ways run the same kernels, so they differ
#: only where a kernel adds in an arbitrary order. A recording that does nothing differs by 1.
MOVEMENT_TOLERANCE = {"float32": 2e-2, "tf32": 5e-2, "bfloat16": 0.15, "float16": 0.15}
#: Movement that is below this many units in the last place of the state is rounding.
ROUNDING_ULPS = 8

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

    def restart(self, state: Sequence[Tensor]) -> None:
        """Continue from another state, whose tensors are copied."""
        for fixed, value in zip(self.state, state, strict=True):
            fixed.copy_(value)


class CaptureError(RuntimeError):
    """A recording failed after it had begun; see `StepGraphs.record`."""


#: Reason why this process records no more steps; empty while it does. All recordings of a process
#: share torch's allocator, which a failed one leaves in a state that spoils the next ones.
_stopped: list[str] = []


class StepGraphs:
    """Decides which steps to record, and compares new kinds of recordings with eager steps.

    Args:
        record: how to record steps; the default is a CUDA graph. It raises `CaptureError` if it
            fails after the recording has begun.
        eager_steps: see `EAGER_STEPS`.

    Attributes:
        attempts: number of recordings that were begun.
    """

    def __init__(self, record: Recorder | None = None, eager_steps: int = EAGER_STEPS):
        self._record = record or _CudaRecorder()
        self._eager_steps = eager_steps
        self._trusted: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self.attempts = 0

    @classmethod
    def for_device(cls, device: torch.device) -> StepGraphs | None:
        """Return this process's recorder for a device, or None if steps are not recorded there.

        Raises:
            InputError: see `cuda_graphs_enabled`.
        """
        enabled = cuda_graphs_enabled()
        return cls._shared(device) if enabled and device.type == "cuda" else None

    @classmethod
    @cache  # all batches share the checks, one stream and one memory pool
    def _shared(cls, _: torch.device) -> StepGraphs:
        return cls()

    def record(
        self, step: Step, state: Sequence[Tensor], *, kind: Hashable, taken: int, precision: str
    ) -> StepGraph | None:
        """Return a recorded step, or None if recording would not save time or does not work.

        If a recording fails after it has begun, this process records no more: torch 2.11 then does
        not end the recording in its allocator, and every later one fails
        (https://github.com/pytorch/pytorch/pull/180395).

        Args:
            step: the step to record.
            state: its state tensors, pixels_N3HW first; each has one row per lane, or one number.
            kind: everything on which it depends whether a recording is correct; only the first
                recording of a kind is compared with eager steps.
            taken: eager steps since the last lane joined or left the batch.
            precision: precision of the network, a key of `TOLERANCE`.
        """
        lanes, _, height, width = state[0].shape
        if taken < self._eager_steps or lanes * height * width > MAX_PIXELS:
            return None
        if _stopped or kind in self._refused:
            return None
        self.attempts += 1
        try:
            graph = StepGraph(step, state, self._record)
            if kind not in self._trusted:
                check_recording(graph, step, state, precision)
                graph.restart(state)
        except CaptureError as error:
            _stopped.append(first_line(error))
            _log.warning("this process records no more CUDA graphs: %s", first_line(error))
            return None
        except RuntimeError as error:  # from CUDA, or from the check
            _log.warning("steps of %s are not recorded as CUDA graphs: %s", kind, first_line(error))
            self._refused.add(kind)
            return None
        self._trusted.add(kind)
        return graph


def check_recording(graph: StepGraph, step: Step, state: Sequence[Tensor], precision: str) -> None:
    """Compare a recording with eager steps from the same state.

    Losses alone do not show a recording that does nothing: with a small learning rate, they hardly
    change within a few steps. So the check compares how far each lane's state has moved.

    Args:
        graph: the recording; it advances.
        step: the recorded step.
        state: the state from which ``graph`` starts.
        precision: a key of `TOLERANCE`.

    Raises:
        RuntimeError: losses, a whole number of the state, or the movement of a state tensor differ.
    """
    eager = list(state)
    for _ in range(CHECKED_STEPS):
        eager_losses, eager = step(eager)
        graph_losses = graph.launch()
    for recorded, expected in zip(graph_losses, eager_losses, strict=True):
        if not torch.allclose(
            recorded, expected, rtol=TOLERANCE[precision], atol=1e-12, equal_nan=True
        ):
            raise RuntimeError("the losses of a recorded step differ from those of an eager one")
    for index, (before, recorded, expected) in enumerate(
        zip(state, graph.state, eager, strict=True)
    ):
        if not _moved_alike(before, recorded, expected, MOVEMENT_TOLERANCE[precision]):
            raise RuntimeError(
                f"state tensor {index} of a recorded step differs from that of an eager one"
            )


def _moved_alike(before: Tensor, recorded: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Return whether a state tensor moved alike in every row; whole numbers must be equal."""
    if not expected.is_floating_point():
        return torch.equal(recorded, expected)
    known = expected.isfinite()
    if not torch.equal(recorded[~known].nan_to_num(), expected[~known].nan_to_num()):
        return False
    rows = expected.shape[0] if expected.ndim else 1
    rounding = ROUNDING_ULPS * torch.finfo(expected.dtype).eps

    def length_N(value: Tensor) -> Tensor:
        finite = torch.where(known & value.isfinite(), value, 0)
        length: Tensor = torch.linalg.vector_norm(finite.double().reshape(rows, -1), dim=1)
        return length

    # A value that was infinite before, such as the first lowest loss, has moved by all of it.
    moved_N = length_N(expected - torch.where(before.isfinite(), before, 0))
    allowed_N = tolerance * moved_N + rounding * length_N(expected)
    same = recorded.isfinite() == known
    return bool(same.all() and (length_N(recorded - expected) <= allowed_N).all())


class _CudaRecorder:
    """Records CUDA graphs; all recordings share one memory pool, and one stream per device."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # One stream for all: CUDA libraries keep a workspace for every stream they ever ran on.
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def __call__(
        self, function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
    ) -> Replay:
        device = fixed[0].device
        # Streams and graphs belong to the current device, which need not be that of the tensors.
        with torch.cuda.device(device):
            if device not in self._streams:
                self._streams[device] = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream = self._streams[device]
            current = torch.cuda.current_stream()
            # CUDA libraries initialize when they first run on a stream, which cannot be recorded.
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                function([tensor.clone() for tensor in fixed])
            current.wait_stream(stream)
            # If recording fails, torch leaves its stream the current one; the outer block does not.
            with torch.cuda.stream(current):
                return self._recorded(function, fixed, stream)

    def _recorded(
        self,
        function: Callable[[Sequence[Tensor]], list[Tensor]],
        fixed: Sequence[Tensor],
        stream: torch.cuda.Stream,
    ) -> Replay:
        graph = torch.cuda.CUDAGraph()
        try:
            # "thread_local": the scoring thread may allocate memory while this thread records.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
            ):
                outputs = function(fixed)
        except Exception as error:
            # The end of a failed recording raises an error of its own, after the first one.
            raise CaptureError(first_line(error.__context__ or error)) from error

        def replay() -> list[Tensor]:
            graph.replay()
            return outputs

        return replay
