"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP.

SIGTERM comes from `docker stop`, `kubectl delete`, Slurm and `timeout`; SIGHUP from a terminal that
is closed. All of them end a launch in the same way: the first signal after the rungs under way, the
second at once. Who sends SIGTERM kills some seconds later, so then rungs have `GRACE_S` to end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from nst_core.errors import Say

#: Seconds that rungs under way have after SIGTERM or SIGHUP. `docker stop` kills after 10 s, and
#: the engines' end took up to 6 s on a busy machine. Kubernetes and Slurm wait for 30 s.
GRACE_VARIABLE, GRACE_S = "NST_TUNER_GRACE_S", 3.0
#: Seconds after that for the engines to end. They may not: `timeout` and Slurm send SIGTERM to
#: Ray's own processes, too, without which Ray waits for a minute and then aborts.
LEAVE_WITHIN_S = 6.0

#: What ends a command beside Ctrl-C. Windows has no SIGHUP.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_Handler = Callable[[int, FrameType | None], None]


class _First:
    """The first signal that was to end this process."""

    number: int = signal.SIGINT


def exit_code() -> int:
    """Exit code of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.

    These are 128 and the signal's number, as shells have it.
    """
    return 128 + _First.number


def grace_s() -> float:
    """Seconds that rungs under way have after SIGTERM, from the environment."""
    try:
        return max(0.0, float(os.environ.get(GRACE_VARIABLE, GRACE_S)))
    except ValueError:
        return GRACE_S


@contextmanager
def end_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    _First.number = signal.SIGINT
    with _heard(dict.fromkeys(_ENDING, _raise)):
        yield


def ignore_signals() -> None:
    """Let no further signal break off an ending, which takes torch a second or two."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)


def _raise(number: int, frame: FrameType | None) -> None:
    _First.number = number
    raise KeyboardInterrupt


def _listen(handlers: Mapping[int, _Handler]) -> None:
    for number, handler in handlers.items():
        # What starts us may have asked for that, as `nohup` does.
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def _heard(handlers: Mapping[int, _Handler]) -> Iterator[None]:
    """Handle signals, and as before at the end; only the main thread hears of any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    _listen(handlers)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # see `ignore_signals`
                signal.signal(number, handler)


@dataclass
class Interrupt:
    """How a launch is to end before its run does.

    Attributes:
        winding_up: begin nothing more, and let every trial end with the rung under way.
        now: at the next `check`.
        until_s: on the monotonic clock, when waiting for rungs is over; None without a limit.
        handlers: of the signals that end the launch.
    """

    winding_up: bool = False
    now: bool = False
    until_s: float | None = None
    handlers: Mapping[int, _Handler] = field(default_factory=dict, repr=False)

    def check(self) -> None:
        """For backends, often: raise KeyboardInterrupt where nothing is half done."""
        if self.now or (self.until_s is not None and time.monotonic() > self.until_s):
            raise KeyboardInterrupt

    def within_s(self, most_s: float) -> float:
        """Seconds that may be waited for something, at most ``most_s``."""
        left_s = most_s if self.until_s is None else self.until_s - time.monotonic()
        return max(0.0, min(most_s, left_s))

    def listen(self) -> None:
        """Hear signals again, of which a library has taken hold: Ray does when it connects."""
        if threading.current_thread() is threading.main_thread():
            _listen(self.handlers)


@contextmanager
def interruptible(interrupt: Interrupt, say: Say, last_words: str = "stopped") -> Iterator[None]:
    """Let the first signal end the launch after the rungs under way, the second one at once.

    Args:
        interrupt: is told.
        say: is told in one line what is waited for.
        last_words: what is said if nothing ends in time; this process then ends at once.

    Raises:
        KeyboardInterrupt: at the second, or when the grace time is over, as soon as the backend
            asks.
    """
    leaving: list[threading.Timer] = []

    def leave() -> None:
        say(last_words)
        _leave()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if interrupt.winding_up:
            interrupt.now = True
            return
        interrupt.winding_up = True
        _First.number = number
        if number == signal.SIGINT:
            say("finishing the rungs under way, then stopping; press Ctrl-C once more to stop now")
            return
        interrupt.until_s = time.monotonic() + grace_s()
        leaving.append(threading.Timer(grace_s() + LEAVE_WITHIN_S, leave))
        leaving[0].daemon = True
        leaving[0].start()
        say(
            f"{signal.Signals(number).name}: finishing the rungs under way for at most"
            f" {grace_s():.0f} s, then stopping; a second one stops now"
        )

    interrupt.handlers = dict.fromkeys((signal.SIGINT, *_ENDING), on_signal)
    try:
        with _heard(interrupt.handlers):
            yield
    except SystemExit:  # Ray's own answer to SIGTERM while it connects
        _First.number = signal.SIGTERM
        raise KeyboardInterrupt from None
    finally:
        for timer in leaving:
            timer.cancel()


def _leave() -> None:
    """End this process now. The study is whole at any moment; Ray's processes end with this one."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # a live view has hidden the cursor
    os._exit(exit_code())


@contextmanager
def children_keep_their_terminal() -> Iterator[None]:
    """Start processes that a closed terminal does not end: they are told what to do by this one.

    Raises:
        KeyboardInterrupt: the terminal was closed meanwhile.
    """
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    had_terminal = os.isatty(2)
    before = signal.signal(hang_up, signal.SIG_IGN)  # which processes inherit, unlike a handler
    try:
        yield
    finally:
        signal.signal(hang_up, before)
    if had_terminal and not os.isatty(2):
        _raise(hang_up, None)
