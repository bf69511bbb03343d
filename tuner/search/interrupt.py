"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP.

`docker stop`, `kubectl delete`, Slurm and `timeout` send SIGTERM; a terminal that is closed sends
SIGHUP. All of them end a launch in the same way: after the first signal, running trials still reach
their next rung; the second signal ends the launch at once. Programs that send SIGTERM kill the
process some seconds later, so trials then have only `GRACE_S` to reach their rung.
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

#: Seconds that trials have to reach their next rung after SIGTERM or SIGHUP. `docker stop` kills
#: after 10 s, and engines took up to 6 s to end on a busy machine. Kubernetes and Slurm wait 30 s.
GRACE_VARIABLE, GRACE_S = "NST_TUNER_GRACE_S", 3.0
#: Seconds after that for the engines to end. They may hang: `timeout` and Slurm also send SIGTERM
#: to Ray's own processes, and without these Ray waits for a minute and then aborts.
LEAVE_WITHIN_S = 6.0

#: Signals that end a command, besides Ctrl-C. Windows has no SIGHUP.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_Handler = Callable[[int, FrameType | None], None]


class _First:
    """The first signal that asked this process to end."""

    number: int = signal.SIGINT


def exit_code() -> int:
    """Return the exit code of a command that a signal ended: 128 plus the signal's number.

    This is 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP, as in a shell.
    """
    return 128 + _First.number


def grace_s() -> float:
    """Return the grace time after SIGTERM in seconds, from the environment or `GRACE_S`."""
    try:
        return max(0.0, float(os.environ.get(GRACE_VARIABLE, GRACE_S)))
    except ValueError:
        return GRACE_S


@contextmanager
def end_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    _First.number = signal.SIGINT
    with _handled(dict.fromkeys(_ENDING, _raise)):
        yield


def ignore_signals() -> None:
    """Ignore all further signals while the process ends; with torch this takes a second or two."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)


def _raise(number: int, frame: FrameType | None) -> None:
    _First.number = number
    raise KeyboardInterrupt


def _install(handlers: Mapping[int, _Handler]) -> None:
    for number, handler in handlers.items():
        # A signal that is ignored from the start stays ignored: `nohup` relies on it.
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def _handled(handlers: Mapping[int, _Handler]) -> Iterator[None]:
    """Handle signals in this context; in any thread but the main one this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    _install(handlers)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # see `ignore_signals`
                signal.signal(number, handler)


@dataclass
class Interrupt:
    """Whether and how a launch is to end before its run is over.

    Attributes:
        stopping: begin no trial, and interrupt each running trial at its next rung.
        now: end at the next `check`.
        until_s: time on the monotonic clock, in seconds, at which trials no longer have to reach
            their rung; None without a limit.
        handlers: handlers of the signals that end the launch.
    """

    stopping: bool = False
    now: bool = False
    until_s: float | None = None
    handlers: Mapping[int, _Handler] = field(default_factory=dict, repr=False)

    def check(self) -> None:
        """Raise KeyboardInterrupt if the launch is to end now.

        Backends call this often, at points where no work is half done.
        """
        if self.now or (self.until_s is not None and time.monotonic() > self.until_s):
            raise KeyboardInterrupt

    def within_s(self, most_s: float) -> float:
        """Return the seconds until ``until_s``, at least 0 and at most ``most_s``."""
        remaining_s = most_s if self.until_s is None else self.until_s - time.monotonic()
        return max(0.0, min(most_s, remaining_s))

    def listen(self) -> None:
        """Install the handlers again: Ray replaces them when it connects."""
        if threading.current_thread() is threading.main_thread():
            _install(self.handlers)


@contextmanager
def interruptible(interrupt: Interrupt, say: Say, last_words: str = "stopped") -> Iterator[None]:
    """End a launch at the next rung of each trial after the first signal, at once after the second.

    Args:
        interrupt: records the signals for the backend.
        say: receives one line about what the launch waits for.
        last_words: line to say before the process is ended because the engines did not end in time.

    Raises:
        KeyboardInterrupt: at the backend's next `Interrupt.check` after a second signal or the
            grace time; at once if Ray exits on SIGTERM.
    """
    timers: list[threading.Timer] = []

    def end_process() -> None:
        say(last_words)
        _end_process()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if interrupt.stopping:
            interrupt.now = True
            return
        interrupt.stopping = True
        _First.number = number
        if number == signal.SIGINT:
            say("stopping at the next rung of each trial; press Ctrl-C again to stop now")
            return
        interrupt.until_s = time.monotonic() + grace_s()
        timers.append(threading.Timer(grace_s() + LEAVE_WITHIN_S, end_process))
        timers[0].daemon = True
        timers[0].start()
        say(
            f"{signal.Signals(number).name}: stopping at the next rung of each trial, in"
            f" {grace_s():.0f} s at the latest; a second signal stops the launch now"
        )

    interrupt.handlers = dict.fromkeys((signal.SIGINT, *_ENDING), on_signal)
    try:
        with _handled(interrupt.handlers):
            yield
    except SystemExit:  # Ray's own handler of SIGTERM while it connects
        _First.number = signal.SIGTERM
        raise KeyboardInterrupt from None
    finally:
        for timer in timers:
            timer.cancel()


def _end_process() -> None:
    """End this process now: the study is valid at any moment, and Ray's processes end as well."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # show the cursor, which a live view hides
    os._exit(exit_code())


@contextmanager
def children_keep_their_terminal() -> Iterator[None]:
    """Make processes that are started in this context ignore SIGHUP: this process ends them.

    Raises:
        KeyboardInterrupt: the terminal was closed in the meantime.
    """
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    had_terminal = os.isatty(2)
    before = signal.signal(hang_up, signal.SIG_IGN)  # child processes inherit this, but no handler
    try:
        yield
    finally:
        signal.signal(hang_up, before)
    if had_terminal and not os.isatty(2):
        _raise(hang_up, None)
