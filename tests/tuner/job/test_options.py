"""Every option has an effect or is refused; none is ignored silently."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from nst_core.errors import ConfigError, InputError
from tests.tuner.helpers import nst_tuner
from tuner.apply.picture import settings
from tuner.job.load import load_job
from tuner.job.spec import StyleImage
from tuner.job.style_arguments import parse_styles
from tuner.run.prepare import refuse_unused_keys

#: Arguments of `stylize` with one picture -> part of the error.
STYLIZE = {
    "--seed 3": "`seed`: changes nothing with `init: content`",
    "--set init=style --seed 3": "`seed`: changes nothing with `init: style`",
    "--set init=mix --set init_noise=0 --seed 3": "`seed`: changes nothing",
    "--set init=noise --set seed=1 --seed 3": "given by --seed and by --set",
    "--set size_px=48 --size-px 64": "given by --size-px and by --set",
    "--set momentum=0.5": "`momentum`: changes nothing with `optimizer: adam`",
    "--set optimizer=lbfgs --set beta1=0.5": "`beta1`: changes nothing",
    "--set weight_decay=1": "it needs optimizer: adamw or lamb",
    "--set lbfgs_history=3": "it needs optimizer: lbfgs",
    "--set tv_norm=l1": "it needs tv_weight above 0",
    "--set color_loss=histogram": "it needs color_weight above 0",
    "--set style_loss=wasserstein --set gram=per_element": "`gram`: changes nothing",
    "--set preserve_color=luminance --set match_colors=mean": "`match_colors`: changes nothing",
    "--set ramp_start=0.5": "it needs weight_schedule: ramp",
    "--set balance_ratio=2": "it needs weight_schedule: balance",
    "--set init_noise=0.1": "it needs init: mix",
    "--set ema_decay=0.9": "it needs keep: ema",
    "--set schedule_steps=600": "`schedule_steps`: changes nothing",
    "--set init=image": "name it with --start",
    "--set init=noise --start REFERENCE": "leave out --set init=noise",
    "--every 300": "expected fewer than the 300 steps",
    "--bits 16 --out o.jpg": "holds 8 bits a channel",
    "--keep-alpha --out o.jpg": "holds no transparency",
    "--weights vgg19=STYLE": "only vgg16 is read here",
    "--weights vgg16=STYLE --weights vgg16=REFERENCE": "given twice",
    "--style STYLE:3": "no other style image is in the same region",
}

#: Other commands with their arguments -> part of the error.
OTHERS = {
    "reference PAIR --out o.png --steps 5": "one pass of a network without steps",
    "reference PAIR@MASK --out o.png": "ignores the regions of styles",
    "reference PAIR@@MASK --out o.png": "ignores the regions of styles",
    "reference PAIR --out o.png --encoder MASK": "other sources take neither",
    "reference PAIR --from long-run --out o.png --decoder MASK": "adain needs both an encoder",
    "reference PAIR --from adain --out o.png --encoder MASK": "adain needs both an encoder",
    "reference PAIR --out o.png --weights vgg16=MASK": "no weights are read here",
    "reference PAIR --from long-run --out o.png --weights vgg19=MASK": "only vgg16 is read",
    "reference PAIR --out o.png --size-px 0": "expected 32 to",
    "reference PAIR:2 --out o.png": "no other style image is in the same region",
    "score CONTENT --reference STYLE": "another shape than the picture's",
    "score CONTENT --reference REFERENCE --content STYLE": "another shape than the picture's",
    "score CONTENT --reference REFERENCE --metric rmse --weights alexnet=MASK": "no weights",
    "metrics --size-px 64": "is for a check on pictures",
    "metrics --weights alexnet=MASK": "is for a check on pictures",
    "metrics JOB --content CONTENT": "expected either a job file or all of",
    "report RUN --serve --out o.html": "changes nothing beside --serve",
    "report RUN --port 8000": "is the port of --serve",
    "prefer RUN --result --count 5": "changes nothing beside --result",
    "prefer RUN --json --open": "changes nothing beside --json",
    "prefer RUN --result --port 8000": "changes nothing beside --result",
    "prefer RUN --result --force": "replaces the file of --job",
    "export RUN --out p.json --size-px 64": "stylize --size-px",
    "export RUN --pack pack --force": "for a single configuration only",
    "resume RUN --trials 9 --set search.trials=8": "give one of them",
    "doctor RUN --address auto": "not of a run",
    "weights --json fetch vgg16": "`weights fetch` prints no JSON",
}


@pytest.fixture(scope="module")
def names(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return placeholder in the tables above -> file or arguments."""
    folder = tmp_path_factory.mktemp("named")
    mask = np.zeros((64, 96), dtype=np.uint8)
    mask[:, :48] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    run = made_run(folder / "run", pictures, trials=4, presets=0)
    files = {name.upper(): str(pictures / f"{name}.png") for name in ("content", "style")}
    pair = f"--content {files['CONTENT']} --style {files['STYLE']}"
    return {
        "PAIR": pair,
        **files,
        "REFERENCE": str(pictures / "reference.png"),
        "MASK": str(folder / "mask.png"),
        "RUN": str(run),
        "JOB": str(run / "job.yaml"),
    }


def words_of(line: str, names: dict[str, str]) -> list[str]:
    for name, value in names.items():
        line = line.replace(name, value)
    return line.split()


def check_refused(words: list[str], why: str, folder: Path) -> None:
    done = nst_tuner(*words)
    assert done.returncode == 2, done.stderr
    assert why in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr and not list(folder.iterdir())


@pytest.mark.parametrize("line", STYLIZE)
def test_stylize_refuses_options_without_effect(
    line: str, names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option without effect is refused before the work begins, and the error says why."""
    monkeypatch.chdir(tmp_path)
    style = [] if "--style" in line else ["--style", names["STYLE"]]
    words = ["stylize", "--content", names["CONTENT"], *style, "--set", "lr=0.02"]
    check_refused([*words, "--out", "o.png", *words_of(line, names)], STYLIZE[line], tmp_path)


@pytest.mark.parametrize("line", OTHERS)
def test_other_commands_refuse_options_without_effect(
    line: str, names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command accepts an option that its other options make useless."""
    monkeypatch.chdir(tmp_path)
    check_refused(words_of(line, names), OTHERS[line], tmp_path)


@pytest.mark.parametrize("option", ["--start", "--every", "--gif", "--plot", "--bits", "--init"])
def test_a_folder_refuses_options_of_one_picture(
    option: str, names: dict[str, str], tmp_path: Path
) -> None:
    """For a folder, options of a single picture and a given start picture are refused."""
    (tmp_path / "in").mkdir()
    shutil.copy(names["CONTENT"], tmp_path / "in" / "a.png")
    value = {"--every": 2, "--bits": 16}.get(option, names["REFERENCE"])
    asked = ["--set", "init=image"] if option == "--init" else [option, value]
    done = nst_tuner(
        *("stylize", "--content", tmp_path / "in", "--style", names["STYLE"], *asked),
        *("--set", "steps=1", "--size-px", 48, "--out", tmp_path / "out"),
    )
    assert done.returncode == 2 and not (tmp_path / "out").exists()


def test_a_mask_of_another_shape_is_refused(names: dict[str, str], tmp_path: Path) -> None:
    """A mask or start picture with another shape than its picture is refused, as in a job."""
    command = ["stylize", "--content", names["CONTENT"], "--set", "steps=1", "--size-px", 48]
    style = names["STYLE"]
    for words, why in (
        (["--style", f"{style}@{style}"], "the mask of a style: 64x64 has another shape"),
        (["--style", f"{style}@@{names['MASK']}"], "another shape than the style image (64x64)"),
        (["--style", style, "--start", style], "the picture to start from: 64x64 has another"),
    ):
        done = nst_tuner(*command, *words, "--out", tmp_path / "o.png")
        assert done.returncode == 2 and why in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_reference_keeps_to_its_mask(names: dict[str, str], tmp_path: Path) -> None:
    """A long run uses the mask of a style image: the mask changes the result."""
    base = ["reference", "--content", names["CONTENT"], "--from", "long-run", "--steps", 4]
    base += ["--size-px", 64, "--style", names["STYLE"]]
    mask = ["--style", f"{names['MASK']}@{names['MASK']}"]
    for name, words in (("plain", []), ("masked", mask)):
        done = nst_tuner(*base, *words, "--out", tmp_path / f"{name}.png")
        assert done.returncode == 0, done.stderr
    plain, masked = (
        np.asarray(Image.open(tmp_path / f"{n}.png"), float) for n in ("plain", "masked")
    )
    assert np.abs(plain - masked).mean() > 1


def test_weights_of_styles_are_used_or_refused(names: dict[str, str]) -> None:
    """Weights that `style_blend` makes useless are refused; others are used."""
    texts = [f"{names['STYLE']}:3", f"{names['CONTENT']}:1"]
    assert [style.weight for style in parse_styles(texts)] == [3.0, 1.0]
    asked = ["style_blend=[1, 2]"]
    blended = settings(None, asked, size_px=None, seed=None, say=print).config
    with pytest.raises(InputError, match="style_blend=null"):
        parse_styles(texts, blended)
    assert parse_styles(texts, blended.replace(init="feed_forward"))


def test_settings_with_an_effect_are_accepted() -> None:
    """Settings that have an effect together are accepted, and so is turning one off."""
    for asked in (
        ["init=noise", "seed=3"],
        ["optimizer=sgd", "momentum=0.5"],
        ["tv_weight=1", "tv_norm=l1"],
        ["schedule_steps=null"],
        ["lr_schedule=cosine", "schedule_steps=900"],
        ["keep=ema", "ema_decay=0.5"],
    ):
        assert settings(None, asked, size_px=None, seed=None, say=print).config


def test_keys_without_effect_are_refused(job_file: Path) -> None:
    """One error names all keys of a job that would have no effect."""
    job, space = load_job(job_file)
    refuse_unused_keys(job, space)
    pair = job.pairs[0]
    vain = job.model_copy(
        update={
            "pairs": [
                pair.model_copy(
                    update={
                        "start": pair.reference,
                        "style": [StyleImage(image=pair.style[0].image, weight=2.0)],
                    }
                )
            ],
            "search": job.search.model_copy(update={"replay": "a", "warm_start": ["b"]}),
            "resources": job.resources.model_copy(
                update={"device": "cpu", "gpus": 2, "engines_per_gpu": 4}
            ),
            "weights": {"squeezenet1_1": "x.pth", "vgg16": "y.pth"},
        }
    )
    with pytest.raises(ConfigError) as caught:
        refuse_unused_keys(vain, space)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        *("search.warm_start", "resources.gpus", "resources.engines_per_gpu"),
        *("pairs.0.start", "pairs.0.style.0.weight", "weights.squeezenet1_1"),
    ]


def test_a_job_refuses_half_of_a_reference(job_file: Path) -> None:
    """Encoder and decoder are refused without each other, and without adain."""
    for made in ("{from: long-run, encoder: e.pth}", "{from: feed-forward, decoder: d.pth}"):
        with pytest.raises(ConfigError, match="expected encoder and decoder with from: adain"):
            load_job(job_file, [f"pairs.0.reference={made}"])
