"""Our engine as a stylizer of the protocol that everybody else's implements.

Without `stylizer`, jobs use the engine of lanes instead: it runs many trials as one batch. This
class makes the same pictures, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nst_core.config import StyleConfig
from nst_core.images.tensors import from_uint8, to_uint8
from nst_core.lanes.batch import Outcome
from nst_core.losses.inputs import Style
from nst_core.stylization import stylize
from tuner.stylizers.protocol import Params, Picture, StylizerError

#: Steps between two pictures, and the most steps of a trial.
EVERY, MAX_STEPS = 1, 100_000


class OwnStylizer:
    """Our engine; parameters are fields of `StyleConfig`."""

    def open(
        self, content: Picture, styles: Sequence[Picture], size_px: int, device: str
    ) -> OwnSession:
        """Return a session for one pair; see `Stylizer.open`."""
        return OwnSession(content, styles, size_px, device)


class OwnSession:
    """Our engine with the pictures of one pair."""

    def __init__(self, content: Picture, styles: Sequence[Picture], size_px: int, device: str):
        self._content_3HW = from_uint8(content)
        self._styles = [Style(image_3HW=from_uint8(style)) for style in styles]
        self._size_px, self._device = size_px, device

    def start(self, params: Params, seed: int) -> Iterator[tuple[int, Picture]]:
        """Yield the picture after each step."""
        settings = {**params, "size_px": self._size_px, "seed": seed, "steps": MAX_STEPS}
        config = StyleConfig.from_dict(settings, source="parameters")
        steps = stylize(config, self._content_3HW, self._styles, device=self._device, every=EVERY)
        for step in steps:
            if step.outcome is not Outcome.RUNNING:
                raise StylizerError(f"step {step.step}: {step.outcome.value}")
            yield step.step, to_uint8(step.image_3HW)
