"""JSON: what `status --json` and `best --json` print, and how every command prints JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tuner.results.preset_runs import preset_json
from tuner.results.rung_ranking import rung_correlations
from tuner.results.verdict import verdict_text
from tuner.study.commands import is_paused

if TYPE_CHECKING:  # commands that only print JSON must not load Optuna
    from tuner.results.results import Results
    from tuner.results.trial_result import TrialResult
    from tuner.study.records import TrialRecord

#: Characters that `json.dumps` does not escape: control characters, which a terminal may obey, and
#: bytes of file names that are not UTF-8.
_TO_ESCAPE = re.compile(r"[\x7f-\x9f\ud800-\udfff]")


def best_json(results: Results, top: int | None = None) -> dict[str, Any]:
    """Return what `nst-tuner best --json` prints.

    Args:
        results: the results of the run.
        top: maximum number of trials; by default all.
    """
    ranked = results.ranked()
    reported = {result.record.trial for result in ranked}
    unreported = [r for r in results.records if r.trial not in reported and r.final_of is None]
    listed = [*((r.record, r) for r in ranked), *((record, None) for record in unreported)][:top]
    return {
        "run": results.job.name,
        "objective": results.goals.name,
        "direction": results.goals.directions[0],
        "verdict": verdict_text(results),
        "beats_content": _best_beats_content(results),
        "baselines": results.baselines,
        "best_preset": preset_json(results),
        "trials": [
            {"rank": rank if result else None, **_trial_json(results, record, result)}
            for rank, (record, result) in enumerate(listed, start=1)
        ],
        "front": _front_json(results) if results.goals.pareto else [],
    }


def _front_json(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "trial": result.record.trial,
            "steps": result.steps,
            "scores": dict(result.rung.scores),
            "images": results.images(result.record.trial, result.steps),
        }
        for result in results.front()
    ]


def _trial_json(
    results: Results, record: TrialRecord, result: TrialResult | None
) -> dict[str, Any]:
    """Return a trial as JSON; ``result`` is None if it has not reported."""
    return {
        "trial": record.trial,
        "state": record.state,
        "objective": results.score(result) if result else None,
        "finals": result.final_scores if result else [],
        "finals_failed": result.failed if result else 0,
        "broken": results.violated(result) if result else [],
        "held_out": results.held_out(result) if result else None,
        "scores": dict(result.rung.scores) if result else {},
        "config": result.config if result else dict(record.config),
        "steps": result.steps if result else 0,
        "seconds": result.rung.seconds if result else record.seconds,
        "preset": record.preset,
        "image": results.run.image(record.trial, 0) if result else None,
        "images": results.images(record.trial) if result else [],
        "note": record.note,
        "reason": record.reason,
    }


def status_json(results: Results) -> dict[str, Any]:
    """Return what `nst-tuner status --json` prints."""
    ranked = results.ranked()
    user = results.run.user
    return {
        "run": results.job.name,
        "space": results.space._asdict(),
        "target": results.job.search.trials,
        "done": results.done,
        "states": results.counts(),
        "objective": results.goals.name,
        "best": _trial_json(results, ranked[0].record, ranked[0]) if ranked else None,
        "verdict": verdict_text(results),
        "beats_content": _best_beats_content(results),
        "best_preset": preset_json(results),
        "rung_correlations": [asdict(rung) for rung in rung_correlations(results)],
        "engines": [asdict(stats) for stats in results.engines],
        "finals": sum(len(result.finals) for result in ranked),
        "paused": is_paused(results.commands),
        "commands": [
            {
                "command": str(record.command),
                "at": record.at,
                "refused": record.refused,
                "trials_not_begun": results.trials_not_begun(record),
            }
            for record in results.commands
        ],
        "ended_because": results.notes.get("over"),
        "finished": results.over,
        "running": asdict(user) if user else None,
    }


def _best_beats_content(results: Results) -> bool | None:
    """Return whether the best trial beats the untouched content; False before the first report."""
    ranked = results.ranked()
    return results.beats_content(results.score(ranked[0])) if ranked else False


def dump(content: Mapping[str, Any]) -> str:
    """Return JSON that is safe to print: no NaN, which JSON lacks, and no control characters.

    Characters that the encoding of standard output lacks are escaped too, so that the text reads
    back the same.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    is_utf = encoding.lower().replace("_", "-").startswith("utf")
    text = json.dumps(content, indent=2, ensure_ascii=not is_utf, allow_nan=False)
    return _TO_ESCAPE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
