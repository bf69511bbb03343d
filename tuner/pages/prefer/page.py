"""Poll: the page that asks which of two results looks better."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_core.errors import InputError, RunError
from tuner.pages.local_server import Answer, Get, Site
from tuner.pages.prefer.strengths import next_question, strengths
from tuner.pages.prefer.votes import COUNT, NOTE, Vote, candidates, stored_votes
from tuner.pages.report.album import Album
from tuner.pages.report.page import as_block, policy, render_template
from tuner.results.results import Results
from tuner.study.study import RunStudy

_PARTS = Path(__file__).parent / "page"

#: The page names the probability that the first result is the best once it is higher than this.
_CONFIDENT = 0.9


class Poll:
    """Asks questions and writes every vote to the study at once.

    Args:
        results: results of the run; no other process may write to its study meanwhile.
        count: number of results that are compared.
        seed: seed of the random choice of pairs and sides; None for another one each time.

    Raises:
        RunError: fewer than two of the results have pictures.
    """

    def __init__(self, results: Results, count: int = COUNT, seed: int | None = None):
        # A result that was rendered larger would win by its size alone.
        self._results, self._album = results, Album(results, as_tuned=True)
        self._candidates = {
            result.record.trial: result
            for result in candidates(results, count)
            if (results.run.path / results.run.image(result.record.trial, 0)).is_file()
        }
        if len(self._candidates) < 2:
            raise RunError(
                f"{results.run.path}: fewer than two results have pictures, so there is nothing to"
                " compare; continue the run with `nst-tuner resume`"
            )
        self._study = RunStudy.open(results.run.path, goals=results.goals)
        self._votes = stored_votes(self._study.notes)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._question = self._next_question()

    @property
    def votes(self) -> list[Vote]:
        """All votes, the oldest first."""
        return list(self._votes)

    def site(self, port: int = 0) -> Site:
        """Return the site that serves the page."""
        paths: dict[str, Get] = {"": self._page, "picture": self._album.answer}
        return Site(paths, {"vote": self._vote}, port=port)

    def vote(self, message: Any) -> None:
        """Carry out a message of the page: a vote, a skipped question, or undoing the last vote.

        Raises:
            InputError: the message is none of these.
        """
        trials = self._candidates
        match message:
            case {"undo": True}:
                del self._votes[-1:]
            case {"skip": True}:
                self._question = self._next_question(skipped=self._question)
                return
            case {"better": int(better), "worse": int(worse), "pair": int(pair)} if (
                better in trials
                and worse in trials
                and better != worse
                and 0 <= pair < len(self._results.job.pairs)
            ):
                self._votes.append(Vote(better, worse, pair))
            case _:
                raise InputError(
                    "not a vote: expected the keys better and worse, two of the compared trials,"
                    " and pair, the pair they were shown on"
                )
        self._study.note(NOTE, [vote._asdict() for vote in self._votes])
        self._question = self._next_question()

    def state(self) -> Mapping[str, Any]:
        """Return what the page shows, as JSON."""
        current = strengths(list(self._candidates), self._votes)
        order = current.order()
        chance = current.chance(order[0], order[1])
        left, right, pair = self._question
        ranking = []
        for trial in order:
            strength, spread = current.of(trial)
            name = self._candidates[trial].name
            ranking.append({"name": name, "strength": strength, "spread": spread})
        certainty = f"the first result is the best with a probability of {chance:.0%}"
        return {
            "question": {"left": left, "right": right, "pair": pair},
            "inputs": self._album.input_names(pair),
            "votes": len(self._votes),
            "certainty": certainty if chance > _CONFIDENT else "",
            "ranking": ranking,
        }

    def _next_question(self, skipped: tuple[int, int, int] | None = None) -> tuple[int, int, int]:
        """Return the left trial, the right trial and the pair to show them on.

        Args:
            skipped: the question before if it was skipped; then the next one is about other trials.
        """
        trials = list(self._candidates)
        if skipped is None:
            chosen = list(next_question(strengths(trials, self._votes), self._votes))
        else:
            before = skipped[:2]
            choices = [(a, b) for a in trials for b in trials if a < b and {a, b} != set(before)]
            chosen = list(self._random.choice(choices or [before]))
        self._random.shuffle(chosen)
        return chosen[0], chosen[1], self._random.randrange(len(self._results.job.pairs))

    # --- answers ----------------------------------------------------------------------------------

    def _vote(self, message: Any) -> Answer:
        with self._lock:  # the server answers each request in a thread of its own
            self.vote(message)
            return Answer.json(self.state())

    def _page(self, rest: str) -> Answer | None:
        if rest:
            return None
        from markupsafe import Markup

        nonce = secrets.token_urlsafe(16)
        page = render_template(
            _PARTS,
            run=self._results.job.name,
            nonce=nonce,
            state=as_block(self.state()),
            js=Markup((_PARTS / "page.js").read_text(encoding="utf-8")),
        )
        return Answer.html(page, policy(nonce, served=True))
