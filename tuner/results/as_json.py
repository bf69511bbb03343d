"""What commands print with --json."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tuner.results.preset_runs import preset_json

if TYPE_CHECKING:  # they bring Optuna, and commands that only print JSON do without it
    from tuner.results.results import Results
    from tuner.results.trial_result import TrialResult
    from tuner.study.records import TrialRecord

#: Control characters that JSON lets stand as they are, and bytes of file names that are no UTF-8.
_ESCAPED = re.compile(r"[\x7f-\x9f\ud800-\udfff]")


def best_json(results: Results, top: int | None = None) -> dict[str, Any]:
    """What `nst-tuner best --json` prints."""
    ranked = results.ranked()
    reported = {found.record.trial for found in ranked}
    rest = [r for r in results.records if r.trial not in reported and r.final_of is None]
    shown = [*((f.record, f) for f in ranked), *((record, None) for record in rest)][:top]
    return {
        "run": results.job.name,
        "objective": results.goals.name,
        "direction": results.goals.directions[0],
        "beats_content": _best_beats_content(results),
        "baselines": results.baselines,
        "best_preset": preset_json(results),
        "trials": [
            {"rank": rank if found else None, **_trial_json(results, record, found)}
            for rank, (record, found) in enumerate(shown, start=1)
        ],
        "front": _front_json(results) if results.goals.pareto else [],
    }


def _front_json(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "trial": found.record.trial,
            "steps": found.steps,
            "scores": dict(found.rung.scores),
            "images": results.images(found.record.trial, found.steps),
        }
        for found in results.front()
    ]


def _trial_json(results: Results, record: TrialRecord, found: TrialResult | None) -> dict[str, Any]:
    return {
        "trial": record.trial,
        "state": record.state,
        "objective": results.score(found) if found else None,
        "finals": found.final_scores if found else [],
        "finals_failed": found.failed if found else 0,
        "broken": results.violated(found) if found else [],
        "held_out": results.held_out(found) if found else None,
        "scores": dict(found.rung.scores) if found else {},
        "config": found.config if found else dict(record.config),
        "steps": found.steps if found else 0,
        "seconds": found.rung.seconds if found else record.seconds,
        "preset": record.preset,
        "image": results.run.image(record.trial, 0) if found else None,
        "images": results.images(record.trial) if found else [],
        "note": record.note,
        "reason": record.reason,
    }


def status_json(results: Results) -> dict[str, Any]:
    """What `nst-tuner status --json` prints."""
    ranked = results.ranked()
    user = results.run.user
    best = _trial_json(results, ranked[0].record, ranked[0]) if ranked else None
    return {
        "run": results.job.name,
        "target": results.job.search.trials,
        "done": results.done,
        "states": results.counts(),
        "objective": results.goals.name,
        "best": best,
        "beats_content": _best_beats_content(results),
        "best_preset": preset_json(results),
        "engines": [asdict(stats) for stats in results.engines],
        "finals": sum(len(found.finals) for found in ranked),
        "ended_because": results.notes.get("over"),
        "finished": results.over,
        "running": asdict(user) if user else None,
    }


def _best_beats_content(results: Results) -> bool | None:
    """Whether the best trial does; before the first report there is none."""
    ranked = results.ranked()
    return results.beats_content(results.score(ranked[0])) if ranked else False


def dump(content: Mapping[str, Any]) -> str:
    """JSON for standard output; never NaN, which is no JSON, nor what commands a terminal.

    What the output's encoding lacks is escaped as JSON has it, so that it reads back the same.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    is_utf = encoding.lower().replace("_", "-").startswith("utf")
    text = json.dumps(content, indent=2, ensure_ascii=not is_utf, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
