"""PictureBatches: stylizes many pictures as lanes, several at a time, within the free memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.errors import NstError, Say
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.device import (
    describe_error,
    is_broken_device,
    is_out_of_memory,
    release_memory,
)
from nst_core.lanes.initialization import feed_forward_start
from nst_core.lanes.lane_scheduler import LaneScheduler
from nst_core.lanes.memory import plan_memory
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from tuner.apply.picture_files import Picture
from tuner.job.style_arguments import check_frames


class PictureBatches:
    """Stylizes pictures with one configuration; pictures of one shape advance as one batch.

    Args:
        config: the configuration of all pictures.
        styles: style images with their weights.
        store: features of the networks.
        lanes: largest number of pictures at a time.
        say: gets a line about fallbacks.
    """

    def __init__(
        self,
        config: StyleConfig,
        styles: Sequence[Style],
        store: FeatureStore,
        lanes: int,
        say: Say,
    ):
        self._config, self._styles, self._store = config, styles, store
        self._lanes, self._say = lanes, say
        self._scheduler = LaneScheduler(store)
        #: Number of a picture -> the picture and its inputs, while its lane is running.
        self._running: dict[int, tuple[Picture, LossInputs]] = {}
        #: (height, width) -> number of pictures of that shape that fit into memory.
        self._capacity: dict[tuple[int, int], int] = {}

    def stylize(self, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, Tensor | str]]:
        """Yield each picture with its result, or with the reason why it failed, when it ends."""
        waiting = list(enumerate(pictures))
        while waiting or self._running:
            while waiting and len(self._running) < self._room:
                number, picture = waiting.pop(0)
                try:
                    self._begin(number, picture)
                    continue
                except Exception as error:  # an error of one picture must not end the others
                    if is_broken_device(error):
                        raise
                    too_many = is_out_of_memory(error) and bool(self._running)
                    reason = reason_of(error)
                if too_many:
                    release_memory()  # outside of the handler, which keeps the picture's tensors
                    waiting.insert(0, (number, picture))
                    self._lanes = len(self._running)
                    break
                yield picture, reason
            if self._running:
                yield from self._advance()

    @property
    def _room(self) -> int:
        """Number of pictures that may run at the same time, limited by the largest shape."""
        shapes = {inputs.height_width for _, inputs in self._running.values()}
        return min([self._lanes, *(self._capacity[shape] for shape in shapes)])

    def _begin(self, number: int, picture: Picture) -> None:
        content = picture.load()
        check_frames(content, self._styles, None)
        size_px, starts = self._config.size_px, {}
        if self._config.init == "feed_forward":
            starts = {"feed_forward": feed_forward_start(content, self._styles, size_px)}
        inputs = LossInputs.at_size(content, self._styles, size_px, starts)
        inputs.check_blend(self._config.style_blend)
        self._plan_memory(inputs)
        try:
            self._scheduler.put((number, 0), self._config, inputs, None)
        except Exception:
            self._store.forget(inputs)
            raise
        self._running[number] = picture, inputs

    def _plan_memory(self, inputs: LossInputs) -> None:
        """Find how many pictures of a shape fit, and whether activations are computed twice.

        Raises:
            InputError: not even one picture fits.
        """
        height, width = inputs.height_width
        if (height, width) in self._capacity:
            return
        device = self._store.device
        plan = plan_memory(self._config, height, width, device, masks=inputs.masks)
        self._capacity[height, width] = plan.bytes_free // plan.bytes_needed
        if plan.checkpointing:
            self._store.checkpointing = True
            self._say(f"{width}x{height} {plan.describe()}")

    def _advance(self) -> Iterator[tuple[Picture, Tensor | str]]:
        """Advance one batch, and yield the pictures that ended."""
        chunk = self._scheduler.advance(self._steps_left, lambda batch: False)
        lanes = list(zip(list(chunk.batch.lanes), chunk.failures, strict=True))
        for lane, failure in lanes:
            key: tuple[int, int] = lane.key
            inputs = self._running[key[0]][1]
            if failure is not None:
                result: Tensor | str = f"step {lane.step}: {failure}"
            elif lane.step >= self._config.steps:
                result = chunk.batch.picture(lane.key)
            else:
                try:
                    self._scheduler.enter_next_stage(key, self._config, inputs)
                    continue
                except Exception as error:
                    result = f"step {lane.step}: {reason_of(error)}"
            yield self._end(key, result)
        try:
            self._scheduler.rebalance()
        except Exception as error:
            lost = [(number, 0) for number in self._running if (number, 0) not in self._scheduler]
            for key in lost:
                yield self._end(key, reason_of(error))

    def _end(self, key: tuple[int, int], result: Tensor | str) -> tuple[Picture, Tensor | str]:
        if key in self._scheduler:
            self._scheduler.take(key)
        picture, inputs = self._running.pop(key[0])
        self._store.forget(inputs)
        return picture, result

    def _steps_left(self, batch: LaneBatch) -> int:
        return min(self._config.steps - lane.step for lane in batch.lanes)


def reason_of(error: Exception) -> str:
    """Return the message of our own errors, and a description of all others."""
    return str(error) if isinstance(error, NstError) else describe_error(error)
