"""Error messages: every class of bad input is refused well, and the page of messages is current."""

from __future__ import annotations

import re

import pytest

from tests import error_messages


@pytest.fixture(scope="module")
def page() -> str:
    """The page of all messages, provoked anew."""
    return error_messages.to_markdown()


def test_page_of_error_messages_is_up_to_date(page: str) -> None:
    """The page shows the messages of today; `python -m tests.error_messages` writes it."""
    assert error_messages.PAGE.read_text("utf-8") == page, "run `python -m tests.error_messages`"


def test_every_message_is_an_error_of_bad_input(page: str) -> None:
    """Each command exits with code 2 and prints an error, with no traceback or temporary path."""
    blocks = re.findall(r"```text\n\$ (.*?)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == len(list(error_messages.cases()))
    for command, message in blocks:
        assert message.startswith("error: "), command
        assert "Traceback" not in message and "/tmp" not in message, command
    assert "(exit code" not in page
