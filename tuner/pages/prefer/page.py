"""The page that asks which of two results is better, on loopback."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_core.errors import InputError, RunError
from tuner.pages.prefer.strengths import next_question, strengths
from tuner.pages.prefer.votes import COUNT, NOTE, Vote, finalists, kept_votes
from tuner.pages.report.album import Album
from tuner.pages.report.page import as_block, policy
from tuner.pages.site import Answer, Get, Site
from tuner.results.results import Results
from tuner.study.study import RunStudy

_PARTS = Path(__file__).parent / "page"

#: The first of the order is said to be sure from here on.
_SURE = 0.9


class Poll:
    """Asks for votes and keeps each at once.

    Args:
        results: of the run; nobody else may write its study meanwhile.
        count: how many finalists are compared.
        seed: of which pair is shown and which side is which.

    Raises:
        RunError: fewer than two trials have pictures.
    """

    def __init__(self, results: Results, count: int = COUNT, seed: int | None = None):
        self._results, self._album = results, Album(results)
        self._found = [
            found
            for found in finalists(results, count)
            if (results.run.path / results.run.image(found.record.trial, 0)).is_file()
        ]
        if len(self._found) < 2:
            raise RunError(f"{results.run.path}: fewer than two results to compare")
        self._study = RunStudy.open(results.run.path, goals=results.goals)
        self._votes = kept_votes(self._study.notes)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._question = self._ask()

    @property
    def votes(self) -> list[Vote]:
        """Those that are kept."""
        return list(self._votes)

    def site(self, port: int = 0) -> Site:
        """The site that it is."""
        paths: dict[str, Get] = {"": self._page, "picture": self._picture}
        return Site(paths, {"vote": self._vote}, port=port)

    def vote(self, sent: Any) -> None:
        """Take a vote, a skip or a step back.

        Raises:
            InputError: it is none of these.
        """
        trials = [found.record.trial for found in self._found]
        match sent:
            case {"undo": True}:
                del self._votes[-1:]
            case {"skip": True}:
                self._question = self._ask(but=self._question)
                return
            case {"better": int(better), "worse": int(worse), "pair": int(pair)} if (
                better in trials
                and worse in trials
                and better != worse
                and 0 <= pair < len(self._results.job.pairs)
            ):
                self._votes.append(Vote(better, worse, pair))
            case _:
                raise InputError("expected better and worse, two of the trials, and their pair")
        self._study.note(NOTE, [vote._asdict() for vote in self._votes])
        self._question = self._ask()

    def state(self) -> Mapping[str, Any]:
        """What the page shows."""
        known = strengths([found.record.trial for found in self._found], self._votes)
        names = {f.record.trial: f.record.preset or f"trial {f.record.trial}" for f in self._found}
        order, spread = known.order(), dict(zip(known.trials, known.spread_N, strict=True))
        chance = known.chance(order[0], order[1])
        left, right, pair = self._question
        return {
            "question": {"left": left, "right": right, "pair": pair},
            "inputs": self._album.names_of(pair),
            "votes": len(self._votes),
            "sure": f"the first is the best with {chance:.0%}" if chance > _SURE else "",
            "order": [
                {
                    "name": names[trial],
                    "strength": float(known.theta_N[known.trials.index(trial)]),
                    "spread": float(spread[trial]),
                }
                for trial in order
            ],
        }

    def _ask(self, but: tuple[int, int, int] | None = None) -> tuple[int, int, int]:
        """Two trials, in a random order, and the pair of the job to show them on."""
        trials = [found.record.trial for found in self._found]
        known = strengths(trials, self._votes)
        if but is None:
            chosen = list(next_question(known, self._votes))
        else:  # it was skipped: any other two
            others = [(a, b) for a in trials for b in trials if a < b and {a, b} != set(but[:2])]
            chosen = list(self._random.choice(others or [but[:2]]))
        self._random.shuffle(chosen)
        return chosen[0], chosen[1], self._random.randrange(len(self._results.job.pairs))

    # --- answers ----------------------------------------------------------------------------------

    def _vote(self, sent: Any) -> Answer:
        with self._lock:  # each request has a thread of its own
            self.vote(sent)
            return Answer.json(self.state())

    def _picture(self, key: str) -> Answer | None:
        return self._album.answer(key)

    def _page(self, rest: str) -> Answer | None:
        if rest:
            return None
        from jinja2 import Environment, FileSystemLoader
        from markupsafe import Markup

        nonce = secrets.token_urlsafe(16)
        templates = Environment(loader=FileSystemLoader(_PARTS), autoescape=True)
        page = templates.get_template("page.html.j2").render(
            run=self._results.job.name,
            nonce=nonce,
            state=as_block(self.state()),
            css=Markup((_PARTS / "page.css").read_text(encoding="utf-8")),
            js=Markup((_PARTS / "page.js").read_text(encoding="utf-8")),
        )
        return Answer(
            content=page.encode(errors="replace"),
            kind="text/html; charset=utf-8",
            policy=policy(nonce, served=True),
        )
