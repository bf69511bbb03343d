"""Trust: code that a file names runs only after a person has agreed, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nst_core.errors import InputError
from tuner.stylizers.trust import names_stylizer, require_trust

SPEC = {"command": ["rm", "-r", "{out}"], "deadline_s": 5.0}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_without_agreement_nothing_runs() -> None:
    """The error names the code and says what to do."""
    with pytest.raises(InputError, match=r"job.yaml runs code .*rm -r.*add --trust"):
        require_trust(SPEC, "job.yaml", trusted=False)
    with pytest.raises(InputError):
        require_trust(SPEC, "job.yaml", trusted=False, ask=lambda what: False)


def test_a_person_is_asked_once_for_the_same_code() -> None:
    """An agreement is remembered for this code, whatever its deadline is, and for no other."""
    asked = []
    require_trust(SPEC, "job.yaml", trusted=False, ask=lambda what: not asked.append(what))
    require_trust({**SPEC, "deadline_s": 6.0}, "run/job.yaml", trusted=False)
    assert len(asked) == 1
    for change in ({"command": ["rm"]}, {"writable": ["/"]}, {"env": ["TOKEN"]}):
        with pytest.raises(InputError):
            require_trust({**SPEC, **change}, "job.yaml", trusted=False)


def test_a_damaged_memory_means_asking_again(tmp_path: Path) -> None:
    """What cannot be read is no agreement."""
    require_trust(SPEC, "job.yaml", trusted=True)
    (tmp_path / "nst-tuner" / "trusted.json").write_text("{")
    with pytest.raises(InputError):
        require_trust(SPEC, "job.yaml", trusted=False)


def test_naming_the_code_on_the_command_line_is_agreement() -> None:
    """``--set stylizer=…`` names code; its deadline alone does not."""
    assert names_stylizer(["search.trials=3", "stylizer.path=a.py:A"])
    assert names_stylizer(["stylizer={python: a:B}"])
    assert not names_stylizer(["stylizer.deadline_s=3"])
