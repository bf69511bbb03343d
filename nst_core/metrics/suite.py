"""MetricSuite: several metrics of images, computed together.

Images are compared as they would be saved: clamped and rounded to 8 bits. Do not rely on a single
pixel metric: SSIM always, PSNR and RMSE often, prefer the untouched content to a good stylization.
The default objective is therefore a perceptual metric.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nst_core.metrics.color_distance import ColorDistance
from nst_core.metrics.lpips_dists import Dists, Lpips
from nst_core.metrics.measure import Image, Images, Measure, levels
from nst_core.metrics.pixel_metrics import Edges, Psnr, Rmse, Ssim
from nst_core.metrics.registry import DEFAULT_METRICS, METRICS
from nst_core.metrics.shift_tolerant_lpips import StLpips
from nst_core.networks.precision import arithmetic
from nst_core.networks.weights import Weights

#: Largest number of pixels that are scored together: 16 images of 256 px. VGG16's features for
#: DISTS then take about 1 GB of a GPU.
BATCH_PIXELS = 2**20

#: Classes of the metrics by name. Arguments are the weights of `METRICS`, then the device.
MEASURES: Mapping[str, Callable[..., Measure]] = {
    "lpips": Lpips,
    "stlpips": StLpips,
    "dists": Dists,
    "ssim": Ssim,
    "psnr": Psnr,
    "rmse": Rmse,
    "color": ColorDistance,
    "edges": Edges,
}


@dataclass(frozen=True, kw_only=True)
class MetricSuite:
    """Computes several metrics of `registry.METRICS`.

    References must not be changed after a call, since their features are cached.

    Attributes:
        measures: the metrics by name.
        device: where they are computed.
    """

    measures: Mapping[str, Measure]
    device: torch.device

    @classmethod
    def load(
        cls,
        weights: Callable[[str], Weights],
        device: torch.device | str = "cpu",
        *,
        metrics: Iterable[str] = DEFAULT_METRICS,
    ) -> MetricSuite:
        """Return a suite of some metrics.

        Args:
            weights: returns network weights by name; called only for weights that are needed.
            device: where to compute.
            metrics: names of metrics.
        """
        measures = {
            name: MEASURES[name](*map(weights, METRICS[name].weights), device=device)
            for name in metrics
        }
        return cls(measures=measures, device=torch.device(device))

    def score(
        self, image: Image, reference: Image, content: Image | None = None
    ) -> dict[str, float]:
        """Return the metrics of one image by name; see `score_all`."""
        contents = None if content is None else [content]
        return self.score_all([image], [reference], contents)[0]

    def score_all(
        self, images: Images, references: Images, contents: Images | None = None
    ) -> list[dict[str, float]]:
        """Return the metrics of each image by name; arguments and errors as `measure`."""
        scores_NM = self.measure(images, references, contents).tolist()
        names = self.names(with_content=contents is not None)
        return [dict(zip(names, scores_M, strict=True)) for scores_M in scores_NM]

    def names(self, *, with_content: bool = True) -> list[str]:
        """Return the names of the metrics, without those that need a content if there is none."""
        return [n for n in self.measures if with_content or METRICS[n].against == "reference"]

    def measure(self, images: Images, references: Images, contents: Images | None = None) -> Tensor:
        """Return score_NM, float64 on the device, of N images by the M metrics of `names`.

        Images with the same reference and content, as objects, are computed together. The host
        reads no value back, so on a GPU it only queues the work.

        Args:
            images: uint8 images HW3, arrays or tensors.
            references: reference of each image, of the same size.
            contents: untouched content of each image, of the same size; None: metrics against the
                content are left out.

        Raises:
            InputError: a metric cannot score images of this size.
        """
        names = self.names(with_content=contents is not None)
        rows: dict[int, Tensor] = {}
        with arithmetic("float32", self.device):
            for part in self._parts(images, references, contents or references):
                level_N3HW = levels([images[index] for index in part], self.device)
                others = {"reference": references[part[0]]}
                if contents is not None:
                    others["content"] = contents[part[0]]
                scores = [
                    self.measures[name].scores(level_N3HW, others[METRICS[name].against])
                    for name in names
                ]
                rows.update(zip(part, torch.stack(scores, dim=1), strict=True))
        if not rows:
            return torch.empty(0, len(names), dtype=torch.float64, device=self.device)
        return torch.stack([rows[index] for index in range(len(images))])

    def _parts(self, images: Images, references: Images, contents: Images) -> Iterator[list[int]]:
        """Yield the indices of images with one reference and content, in parts that fit."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, pair in enumerate(zip(references, contents, strict=True)):
            groups[id(pair[0]), id(pair[1])].append(index)
        for group in groups.values():
            height, width, _ = images[group[0]].shape
            size = max(1, BATCH_PIXELS // (height * width))
            for start in range(0, len(group), size):
                yield group[start : start + size]
