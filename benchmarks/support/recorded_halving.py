"""Successive halving of recorded configurations in random order, for `benchmarks.rungs`.

Scores are recorded ones. The decisions are those of a run (`tuner.search.halving`), without its
study: a search takes a hundredth of a second, so that thousands of them can be compared.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from tuner.search.halving import Decision, Halving, Rung, RungValues


def lowest_losses(
    loss_NS: np.ndarray,
    steps: Sequence[int],
    halving: Halving,
    *,
    budgets: Sequence[int],
    workers: int,
    seed: int,
) -> list[float]:
    """Return the lowest loss that a search finds within each budget.

    Args:
        loss_NS: loss of N configurations at S numbers of steps; scores between these are
            interpolated linearly in the logarithm of the steps.
        steps: these numbers of steps; the last one ends a trial.
        halving: the early stopping, with ``rule="promote"``.
        budgets: numbers of steps of all trials together, ascending.
        workers: number of trials that run at the same time.
        seed: seed of the order of the configurations.
    """
    new = iter(np.random.default_rng(seed).permutation(len(loss_NS)).tolist())
    rungs = halving.rungs(0, steps[-1])
    reported, paused = RungValues(), dict[int, Rung]()
    running: list[tuple[int, int, int, int]] = []  # (time of the report, order, trial, its steps)
    spent, order, now = 0, 0, 0
    events: list[tuple[int, float]] = []

    def start(trial: int, done: int) -> None:
        nonlocal order
        order += 1
        until = next(rung for rung in rungs if rung > done)
        heapq.heappush(running, (now + until - done, order, trial, until))

    while spent < budgets[-1]:
        while len(running) < workers:
            promoted = halving.promotable(paused, reported)
            if promoted is not None:
                start(promoted, paused.pop(promoted).steps)
            elif (trial := next(new, None)) is not None:
                start(trial, 0)
            else:
                break
        if not running:
            break
        now, _, trial, done = heapq.heappop(running)
        spent += done - max((rung for rung in rungs if rung < done), default=0)
        loss = float(np.interp(np.log(done), np.log(steps), loss_NS[trial]))
        events.append((spent, loss))
        if done == rungs[-1]:
            continue
        rung = halving.rung(rungs, done)
        reported.add(rung, trial, (0.0, loss))
        decision = halving.decide(trial, rung, reported, to_come=len(loss_NS))
        if decision is Decision.CONTINUE:
            start(trial, done)
        elif decision is Decision.PAUSE:
            paused[trial] = rung
    return [min(loss for at, loss in events if at <= budget) for budget in budgets]
