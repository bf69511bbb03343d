"""Scorers: scores arrive later, errors concern one request, and a stream never waits."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from nst_core.metrics.measure import Images
from nst_core.metrics.suite import MetricSuite
from tuner.engine.scoring import StreamScorer, ThreadScorer, scorer_of

CPU = torch.device("cpu")
REFERENCES = [np.full((16, 20, 3), value, dtype=np.uint8) for value in (0, 100)]


def suite_on(device: torch.device) -> MetricSuite:
    return MetricSuite.load({}.__getitem__, device, metrics=("rmse", "edges"))


def request(*levels: int) -> list[Tensor]:
    """Return one uniform image for each level."""
    return [torch.full((16, 20, 3), level, dtype=torch.uint8) for level in levels]


class LateEvent:
    """Event that has not happened before someone waits for it."""

    def __init__(self) -> None:
        self.happened = False

    def query(self) -> bool:
        return self.happened

    def synchronize(self) -> None:
        self.happened = True


class LateStream:
    """Second stream on a CPU: it fails for requests of too many images.

    Attributes:
        most: largest number of images that fit into its memory.
        calls: numbers of images of all attempts.
    """

    device = CPU

    def __init__(self, most: int = 100, error: Exception | None = None):
        self.most, self.calls = most, list[int]()
        self._error = error or torch.OutOfMemoryError("injected")

    def run(self, work: Callable[[], Tensor], inputs: Images) -> tuple[Tensor, LateEvent]:
        self.calls.append(len(inputs))
        if len(inputs) > self.most:
            raise self._error
        return work(), LateEvent()

    def free_memory(self) -> None:
        pass


def on_stream(stream: LateStream) -> StreamScorer:
    return StreamScorer(suite_on, REFERENCES, REFERENCES, stream)  # type: ignore[arg-type]


def rmse_of(scores: Sequence[dict[str, float]]) -> list[float]:
    return [score["rmse"] * 255 for score in scores]


def test_a_thread_scores_each_request() -> None:
    """On a CPU, a request has the scores of its images against the first pairs' references."""
    scorer = scorer_of(suite_on, REFERENCES, REFERENCES, CPU)
    assert isinstance(scorer, ThreadScorer)
    results = [scorer.score(request(*levels)) for levels in ((51, 100), (7,))]
    scorer.start()
    assert [rmse_of(result.result()) for result in results] == [
        pytest.approx([51, 0]),
        pytest.approx([7]),
    ]


def test_an_error_in_the_thread_concerns_one_request() -> None:
    """An image that cannot be scored fails its request, and later requests are scored."""
    scorer = ThreadScorer(suite_on(CPU), REFERENCES, REFERENCES)
    bad = scorer.score([torch.zeros(3, 4, 3, dtype=torch.uint8)])
    good = scorer.score(request(51))
    with pytest.raises(RuntimeError):
        bad.result()
    assert rmse_of(good.result()) == pytest.approx([51])


def test_a_stream_scores_all_requests_together_and_does_not_wait() -> None:
    """Requests begin together; each has its own scores once the stream's event has happened."""
    stream = LateStream()
    scorer = on_stream(stream)
    results = [scorer.score(request(*levels)) for levels in ((51, 100), (7,))]
    assert stream.calls == [] and not results[0].done()
    scorer.start()
    scorer.start()
    assert stream.calls == [3] and not results[0].done()
    assert rmse_of(results[0].result()) == pytest.approx([51, 0])
    assert results[0].done() and results[1].done()
    assert rmse_of(results[1].result()) == pytest.approx([7])


@pytest.mark.parametrize(("most", "calls"), [(1, [3, 2, 1]), (0, [3, 2, 1])])
def test_images_beyond_the_memory_of_a_stream_are_scored(most: int, calls: list[int]) -> None:
    """What does not fit into the GPU is scored request by request, and else on the CPU."""
    stream = LateStream(most)
    scorer = on_stream(stream)
    results = [scorer.score(request(*levels)) for levels in ((51, 100), (7,))]
    scorer.start()
    assert stream.calls == calls
    results[0].wait(30)
    assert results[0].done()
    assert rmse_of(results[0].result()) == pytest.approx([51, 0])
    assert rmse_of(results[1].result()) == pytest.approx([7])


def test_another_error_of_a_stream_is_raised_by_the_result() -> None:
    """An error that is not about memory does not leave `start`; the request's result raises it."""
    scorer = on_stream(LateStream(0, ValueError("bad image")))
    result = scorer.score(request(51))
    scorer.start()
    assert result.done()
    with pytest.raises(ValueError, match="bad image"):
        result.result()
