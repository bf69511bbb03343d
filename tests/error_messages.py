"""Every class of bad input, provoked through the command line, and the page of their messages.

``python -m tests.error_messages`` writes docs/reference/error-messages.md, so that all messages can
be read as one page. ``tests/test_error_messages.py`` compares the page with the messages of today.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from PIL import Image

from benchmarks.support.made_run import made_run
from tests.tuner.helpers import nst_tuner

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "error-messages.md"

_INTRODUCTION = """\
# Error messages

<!-- Written by `python -m tests.error_messages`; do not edit. -->

Each message says what is wrong, what was expected, and what to do. This page has one example of
each class of bad input, as the command prints it. All of them exit with code 2, before any work is
done.
"""

#: A job in the working folder, which every case of a job file changes in one place.
_JOB = {
    "name": "cafe",
    "pairs": [{"content": "photo.png", "style": "style.png", "reference": "reference.png"}],
    "size_px": 64,
    "search": {"trials": 4},
    "halving": {"min_steps": 2, "max_steps": 6},
}
_LAUNCH = "launch job.yaml --run-dir new-run"
_LAUNCH_OWN = "launch own.yaml --run-dir new-run --trust"
_STYLIZE = "stylize --content photo.png --style style.png --out out.png"
_STEPS = f"{_STYLIZE} --set steps=2"
_DISTILL = "distill --preset tv-amp --style style.png --out cafe.onnx"

#: Overrides of a valid job, one class of mistake each.
_JOB_MISTAKES: Mapping[str, str] = {
    "an unknown key": "serch.trials=24",
    "a nearly right key": "halving.min_step=3",
    "a key of another section": "search.steps=30",
    "a value of the wrong kind": "search.trials=many",
    "a number out of range": "search.trials=0",
    "an unknown choice": "search.sampler=bayes",
    "an unknown metric": "objective=lpip",
    "an objective that rewards doing nothing": "objective=edges",
    "too many objectives": "objective=[lpips, ssim, color, rmse]",
    "a weight of an objective below 0": "objective={lpips: -1}",
    "a sampler that knows only one objective": "objective=[lpips, color] search.sampler=cmaes",
    "a target for several objectives": "objective=[lpips, color] budget.target=0.2",
    "a constraint that cannot be read": "constraints.seconds_per_image=five",
    "a constraint on an unknown measure": "constraints.minutes=<= 5",
    "rungs in the wrong order": "halving.min_steps=10",
    "a first rung that is no number": "halving.min_steps=early",
    "a picture that does not exist": "pairs.0.content=missing.png",
    "a folder as a picture": "pairs.0.content=.",
    "an unknown way to make a reference": "pairs.0.reference={from: magic}",
    "AdaIN without its weights": "pairs.0.reference={from: adain}",
    "an unknown space": "space=grams",
    "a prior that does not fit the space": "space={base: gram, prior: {lrr: [0.1, sure],"
    " style_weight: [1e6, sure], init: [noise, likel]}}",
    "a prior for a sampler that takes none": "space={base: gram, prior: {lr: [0.1, sure]}}"
    " search.sampler=grid",
    "a run for a warm start that does not exist": "search.warm_start=[missing-run]",
    "a weights file of an unknown network": "weights={vgg11: vgg11.pth}",
    "a storage that is not a folder or bucket": "storage=http://example.com/run",
    "a database address that cannot be read": "search.study=mysql//nowhere",
    "an unknown precision": "resources.precision=bfloat",
    "a key that only stylizers of your own use": "resources.gpus_per_worker=0.5",
    "a cost that our engine does not report": "objective=[lpips, cost]",
    "a style weight without effect": "pairs.0.style=[{image: style.png, weight: 0}]",
}

#: Space files, one class of mistake each.
_SPACE = "name: mine\nwhy: an example\n"
_SPACE_MISTAKES: Mapping[str, str] = {
    "no parameters": _SPACE,
    "an unknown parameter": _SPACE + "params: {lrate: {low: 0.01, high: 0.1}}\n",
    "a setting of the job": _SPACE + "params: {steps: {low: 10, high: 100}}\n",
    "a range in the wrong order": _SPACE + "params: {lr: {low: 0.1, high: 0.01}}\n",
    "a range beyond the setting's own": _SPACE + "params: {beta1: {low: 0.5, high: 2}}\n",
    "an unknown option": _SPACE + "params: {init: {options: [content, photo]}}\n",
    "a condition on a later parameter": _SPACE
    + "params:\n  tv_weight: {low: 1, high: 9, when: {tv: on}}\n  tv: {options: [off, on]}\n",
    "variants that do not exclude each other": _SPACE
    + "params:\n  lr@a: {low: 0.01, high: 0.1}\n  lr@b: {low: 0.1, high: 1}\n",
    "an initial point outside a range": _SPACE
    + "params: {lr: {low: 0.01, high: 0.1}}\nstarts: [{lr: 5}]\n",
    "a layer that the network does not have": _SPACE
    + "params: {content_layer: {options: [relu9_9]}}\n",
}

#: A job for a program of one's own, which every case of a stylizer changes in one place.
_STYLIZER_JOB = {
    **{key: value for key, value in _JOB.items() if key != "halving"},
    "stylizer": {"command": ["cp", "{content}", "{out}", "{sigma}"]},
    "space": "blur.yaml",
}
_STYLIZER_SPACE = "name: blur\nwhy: an example\nparams: {sigma: {low: 0, high: 4}}\n"

#: Overrides of the job for a program of one's own, one class of mistake each.
_STYLIZER_MISTAKES: Mapping[str, str] = {
    "a program that does not exist": "stylizer.command.0=no-such-program",
    "two kinds of stylizer": "stylizer.path=a.py:A",
    "a space of our engine": "space=gram",
    "a parameter that the command does not use": "stylizer.command.3=--fast",
    "a place that nothing fills": "stylizer.command.3='{sigm}'",
    "steps of a command": "halving.max_steps=90",
}

#: Files that are not what a command expects there.
_FILES: Mapping[str, bytes] = {
    "empty.png": b"",
    "text.png": b"This is not a picture.\n",
    "page.png": b"<!DOCTYPE html><html><body>Not found</body></html>",
    "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "list.yaml": b"- a\n- b\n",
    "torn.yaml": b"name: [cafe\n",
    "twice.yaml": b"name: a\nname: b\n",
    "binary.yaml": b"\x80\x81\x82",
    "torn.json": b'{"name": "mine", "config": {"lr": 0.0',
    "wrong.json": b'{"schema_version": 1, "name": "mine", "config": {"lr": -1, "lrate": 2}}',
    "other.json": b'{"a": 1}',
    "pickle.pth": b"\x80\x04K\x01.",
    "mine.txt": b"notes\n",
}

#: Commands in the working folder, by heading and class of mistake.
_COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Job files that cannot be read": {
        "no file": "launch missing.yaml --run-dir new-run",
        "not YAML": "launch torn.yaml --run-dir new-run",
        "not a mapping": "launch list.yaml --run-dir new-run",
        "a key twice": "launch twice.yaml --run-dir new-run",
        "not text": "launch binary.yaml --run-dir new-run",
        "a picture as a job": "launch photo.png --run-dir new-run",
    },
    "Pictures": {
        "no file": _STEPS.replace("photo.png", "missing.png"),
        "an empty file": _STEPS.replace("photo.png", "empty.png"),
        "text": _STEPS.replace("photo.png", "text.png"),
        "a web page": _STEPS.replace("photo.png", "page.png"),
        "a Git LFS pointer": _STEPS.replace("photo.png", "pointer.png"),
        "a damaged picture": _STEPS.replace("photo.png", "torn.png"),
        "an animation": _STEPS.replace("photo.png", "animated.gif"),
        "a picture that is too small": _STEPS.replace("photo.png", "tiny.png"),
        "pictures of a new job": (
            "init --content missing.png --style text.png --reference photo.png"
        ),
        "a reference of another shape": "score photo.png --reference tall.png",
    },
    "Outputs": {
        "no folder": _STEPS.replace("out.png", "missing/out.png"),
        "an unknown kind of picture": _STEPS.replace("out.png", "out.xyz"),
        "an input of the command": _STEPS.replace("out.png", "photo.png"),
        "a file that nst-tuner did not make": _STEPS.replace("out.png", "tall.png"),
        "16 bits in a JPEG": _STEPS.replace("out.png", "out.jpg") + " --bits 16",
    },
    "Options and settings": {
        "an unknown command": "lanuch job.yaml",
        "an unknown option": "best run --tpo 3",
        "a missing option": "stylize --content photo.png --out out.png",
        "a value of the wrong kind": "best run --top three",
        "an unknown setting": _STYLIZE + " --set lrate=0.1",
        "a setting out of range": _STYLIZE + " --set lr=-1",
        "an unknown choice of a setting": _STYLIZE + " --set optimizer=adagrad",
        "a setting without a value": _STYLIZE + " --set lr",
        "a layer that the network does not have": _STYLIZE + " --set content_layers={relu9_9: 1}",
        "nothing to apply": _STYLIZE,
        "a setting without effect": _STYLIZE + " --set momentum=0.5",
        "an option without effect": _STEPS + " --seed 3",
        "a strength out of range": _STEPS + " --strength 3",
        "neither a job nor pictures": "launch",
        "an unknown metric": "score photo.png --reference reference.png --metric lpip",
        "an option of another check": "metrics run --size-px 64",
        "an unknown network": "extractors vgg11",
        "an unknown space": "spaces grams",
    },
    "Presets": {
        "an unknown name": _STYLIZE + " --preset adam-100",
        "no file": _STYLIZE + " --preset missing.json",
        "not JSON": _STYLIZE + " --preset torn.json",
        "not a preset": _STYLIZE + " --preset other.json",
        "wrong settings": _STYLIZE + " --preset wrong.json",
    },
    "Weights": {
        "an unknown name": "weights fetch vgg11",
        "no file": _STEPS + " --weights vgg16=missing.pth",
        "not weights": _STEPS + " --weights vgg16=text.png",
        "a pickle": _STEPS + " --weights vgg16=pickle.pth",
        "a network without effect": _STEPS + " --weights vgg19=pickle.pth",
    },
    "Runs": {
        "no folder": "best missing-run",
        "a folder that is not a run": "best empty",
        "a damaged study": "best torn-run",
        "a new run where one is": "launch job.yaml --run-dir run",
        "a new run where other files are": "launch job.yaml --run-dir full",
        "resuming what is not a run": "resume empty",
        "changing what a run has fixed": "resume run --set size_px=96",
        "a trial that does not exist": "export run --trial 99 --out best.json",
        "an unknown format": "export run --format gimp --out best.json",
        "a run instead of a preset": "stylize --content photo.png --style style.png"
        " --preset run --out o.png",
        "two runs without --pack": "export run torn-run --out best.json",
        "a folder without runs": "ls empty",
        "steering a run that is not running": "ctl run pause",
        "an unknown command to a run": "ctl run paus",
        "a command before its run": "ctl pause run",
        "a command to a run without a value": "ctl run try lr",
        "a storage that does not exist": "fetch missing-storage fetched",
    },
    "Real-time networks": {
        "no folder of photos": f"{_DISTILL} --photos missing",
        "photos that cannot be read": f"{_DISTILL} --photos unreadable",
        "nothing to learn": "distill --style style.png --photos samples --out cafe.onnx",
        "a setting that a network cannot learn": f"{_DISTILL} --photos samples"
        " --set photo_weight=1",
        "presets that do not fit the styles": f"{_DISTILL} --photos samples --preset adam-1000",
        "an unknown kind of network": f"{_DISTILL} --photos samples --network mobil",
        "another kind of file": f"{_DISTILL.replace('.onnx', '.pt')} --photos samples",
        "not a network": "stylize --content photo.png --network text.png --out out.png",
    },
    "Clusters": {
        "submitting without a cluster": "launch job.yaml --run-dir /runs/a --submit",
        "submitting to an address that is not a dashboard's": (
            "launch job.yaml --run-dir /runs/a --submit --address localhost:6379"
        ),
        "submitting with a run directory that is not absolute": (
            "launch job.yaml --run-dir new-run --submit --address http://127.0.0.1:8265"
        ),
    },
}


def make_folder(folder: Path) -> None:
    """Fill a folder with a job, pictures, a run, and files that are not what they seem."""
    sizes = {"photo": (64, 48), "style": (64, 64), "reference": (64, 48), "tall": (40, 90)}
    for name, size in {**sizes, "tiny": (8, 6)}.items():
        Image.new("RGB", size, "teal").save(folder / f"{name}.png")
    photo = (folder / "photo.png").read_bytes()
    (folder / "torn.png").write_bytes(photo[: len(photo) // 2])
    frames = [Image.new("RGB", (64, 48), color) for color in ("teal", "white")]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    (folder / "own.yaml").write_text(yaml.safe_dump(_STYLIZER_JOB, sort_keys=False))
    (folder / "blur.yaml").write_text(_STYLIZER_SPACE)
    for name, content in _FILES.items():
        (folder / name).write_bytes(content)
    (folder / "job.yaml").write_text(yaml.safe_dump(_JOB, sort_keys=False))
    (folder / "empty").mkdir()
    (folder / "unreadable").mkdir()
    shutil.copy(folder / "text.png", folder / "unreadable" / "a.png")
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("notes")
    pictures = folder / "pictures"
    pictures.mkdir()
    for name, new in (("photo", "content"), ("style", "style"), ("reference", "reference")):
        shutil.copy(folder / f"{name}.png", pictures / f"{new}.png")
    made_run(folder / "run", pictures, trials=4)
    shutil.copytree(folder / "run", folder / "torn-run")
    (folder / "torn-run" / "study.journal").write_bytes(b'{"op_code": 0, "worker')


def words_of(command: str) -> list[str]:
    """Return the words of a command line; a value of ``--set`` may contain spaces."""
    return [word for word in re.split(r" (?![^{\[]*[}\]])", command) if word]


def _with_overrides(overrides: str, launch: str = _LAUNCH) -> list[str]:
    """Return the words of a launch of a valid job with these overrides."""
    words = launch.split()
    for override in re.split(r" (?=[a-z_.0-9]+=)", overrides):
        words += ["--set", override]
    return words


def cases() -> Iterator[tuple[str, str, list[str]]]:
    """Yield (heading, class of mistake, words of the command) for every class of bad input."""
    yield from (
        ("Job files that cannot be read", mistake, words_of(command))
        for mistake, command in _COMMANDS["Job files that cannot be read"].items()
    )
    for mistake, overrides in _JOB_MISTAKES.items():
        yield "Job files: keys and values", mistake, _with_overrides(overrides)
    yield "Stylizers of your own", "a program that is not trusted", _LAUNCH_OWN.split()[:-1]
    for mistake, overrides in _STYLIZER_MISTAKES.items():
        yield "Stylizers of your own", mistake, _with_overrides(overrides, _LAUNCH_OWN)
    for number, mistake in enumerate(_SPACE_MISTAKES):
        words = [*_LAUNCH.split(), "--set", f"space=space{number}.yaml"]
        yield "Space files", mistake, words
    for heading, commands in _COMMANDS.items():
        if heading != "Job files that cannot be read":
            for mistake, command in commands.items():
                yield heading, mistake, words_of(command)


def messages() -> Iterator[tuple[str, str, list[str], int, str]]:
    """Yield (heading, class of mistake, words of the command, exit code, message) of every case."""
    with tempfile.TemporaryDirectory(prefix="messages") as name, contextlib.chdir(name):
        folder = Path(name)
        make_folder(folder)
        for number, text in enumerate(_SPACE_MISTAKES.values()):
            (folder / f"space{number}.yaml").write_text(text)
        known = set(folder.iterdir())
        for heading, mistake, words in cases():
            done = nst_tuner(*words, COLUMNS="200")
            assert set(folder.iterdir()) == known, f"{words} left a file"
            yield heading, mistake, words, done.returncode, everywhere_alike(done.stderr, folder)


def everywhere_alike(text: str, folder: Path) -> str:
    """Return an error message without progress lines and without the path of the folder."""
    text = text[text.find("error:") :]
    text = text.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    text = text.replace(str(folder), ".")
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def to_markdown() -> str:
    """Return the page of all messages."""
    parts, last = [_INTRODUCTION], ""
    for heading, mistake, words, code, message in messages():
        if heading != last:
            parts.append(f"## {heading}\n")
        last = heading
        title = mistake[0].upper() + mistake[1:]
        ending = "" if code == 2 else f" (exit code {code})"
        parts.append(
            f"**{title}**{ending}\n\n```text\n$ nst-tuner {shlex.join(words)}\n{message}\n```\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(to_markdown(), encoding="utf-8")
