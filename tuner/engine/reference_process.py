"""References of ``from: long-run``, each made in a process of its own.

A process that has used a GPU keeps a context on it, which takes some hundred MiB, until it ends.
The process of a launch lives as long as the run, so it must not use the GPU. The long run therefore
is a command, which reads a request as JSON and writes one JSON object per line: ``{"say": line}``
for the user, or ``{"error": message, "exit_code": code}``.

The command is started as a program instead of with `multiprocessing`, which would run the user's
main module again in the new process.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nst_core.errors import InputError, NstError, Say, WorkError
from nst_core.references import LONG_RUN_CONFIG

#: Optimizer steps of a reference.
STEPS = LONG_RUN_CONFIG.steps

#: Seconds that the process has to end after SIGTERM, before it is killed.
END_WITHIN_S = 5.0


def long_run_reference(
    pair: dict[str, Any],
    file: Path,
    *,
    size_px: int,
    weights: dict[str, str],
    device: str,
    say: Say,
) -> None:
    """Make the reference of a pair in a new process, and write it to ``file``.

    Args:
        pair: the pair, as `PairSpec.model_dump` returns it; paths must be absolute or relative to
            the working folder.
        file: PNG file to write.
        size_px: longer side of the reference in pixels.
        weights: weights file of each network that has its own, by name.
        device: ``auto``, ``cpu`` or ``cuda``; ``cpu`` hides GPUs from the process.
        say: receives lines about downloads.

    Raises:
        InputError: a file cannot be used.
        WorkError: the long run diverged, failed or was killed.
    """
    request = {
        **{"pair": pair, "file": str(file), "size_px": size_px, "weights": weights},
        **{"steps": STEPS, "parent": os.getpid()},
    }
    # The same modules as in this process, and, with -P, none of the working folder.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    # Ctrl-C reaches all processes of a terminal. This one decides; the new one inherits the block.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tuner.engine.reference_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        failure = _conversation(process, request, say)
        code = process.wait()
    finally:
        _end(process)
    if failure is not None:
        error = InputError if failure["exit_code"] == InputError.exit_code else WorkError
        raise error(failure["error"])
    if code:
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise WorkError(
            f"the long run of a reference ended with {ended}; if memory was short, lower size_px,"
            " or make the reference on another machine with `nst-tuner reference` and name its file"
        )


def _conversation(
    process: subprocess.Popen[str], request: dict[str, Any], say: Say
) -> dict[str, Any] | None:
    """Send the request, pass lines on until the process closes its output; return its error."""
    assert process.stdin is not None and process.stdout is not None
    failure = None
    try:
        with process.stdin:
            process.stdin.write(json.dumps(request))
    except BrokenPipeError:  # it has ended already; its exit code says how
        return None
    for line in process.stdout:
        message = json.loads(line)
        if "say" in message:
            say(message["say"])
        else:
            failure = message
    return failure


def _end(process: subprocess.Popen[str]) -> None:
    """End the process if it still runs, as after Ctrl-C."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def main() -> None:
    """Make the reference that the request on standard input describes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    logging.disable(logging.WARNING)  # the launch reads the same pictures, and warns about them

    def answer(**message: object) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        _make(json.load(sys.stdin), lambda line: answer(say=line))
    except NstError as error:
        answer(error=str(error), exit_code=error.exit_code)
    except Exception as error:  # of the device, or of the memory
        from nst_core.lanes.device import describe_error

        answer(
            error=f"the long run of a reference failed: {describe_error(error)}",
            exit_code=WorkError.exit_code,
        )


def _make(request: dict[str, Any], say: Say) -> None:
    from nst_core.images.tensors import load_image, save_image
    from nst_core.networks.weights import get_weights
    from nst_core.references import make_reference
    from tuner.engine.pairs import load_style
    from tuner.job.pair_spec import PairSpec

    def go_on(_: object) -> None:
        if os.getppid() != request["parent"]:  # the launch was killed
            raise WorkError("the launch has ended, so nobody needs its reference any more")

    pair = PairSpec.model_validate(request["pair"])
    image = make_reference(
        "long-run",
        load_image(pair.content),
        [load_style(style) for style in pair.style],
        size_px=request["size_px"],
        weights=lambda name: get_weights(name, file=request["weights"].get(name), say=say),
        steps=request["steps"],
        on_step=go_on,
    )
    save_image(image, Path(request["file"]))


if __name__ == "__main__":
    main()
