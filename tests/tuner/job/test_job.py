"""Job files: errors with line, key and value, files that a job names, and the JSON Schema."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from nst_core.errors import ConfigError, InputError
from tuner.job.load import fingerprint, load_job
from tuner.job.spec import JobSpec, schema_json

WRONG = """\
name: x
pairs:
  - content: nope.jpg
    styl: x
    style:
      - {image: a.jpg, weigth: 3}
    reference: 3
halvin: {min_steps: 30}
search: {trials: -4, sampler: tpee}
halving: {min_steps: 300, max_steps: 30}
objective: lpip
resources: {lanes: many}
"""


def test_an_error_lists_every_problem(tmp_path: Path) -> None:
    """One error lists all problems of a file, each with line, key, value and near miss."""
    path = tmp_path / "job.yaml"
    path.write_text(WRONG)
    with pytest.raises(ConfigError) as caught:
        load_job(path)
    text = str(caught.value)
    for part in (
        "line 8: `halvin`: no such key; did you mean `halving`?",
        "line 4: `pairs.0.styl`: no such key; did you mean `style`?",
        "line 6: `pairs.0.style.0.weigth`: no such key; did you mean `weight`?",
        "line 7: `pairs.0.reference`",
        "line 9: `search.trials`: expected at least 1, got -4",
        "did you mean `tpe`?",
        "line 10: `halving`: expected min_steps to be at most max_steps",
        "did you mean `lpips`?",
        "line 12: `resources.lanes`: expected auto or a whole number",
    ):
        assert part in text
    assert len(caught.value.problems) == 9


@pytest.mark.parametrize(
    ("lanes", "engines", "valid"), [("auto", 8, True), (4, 4, True), (3, 4, False)]
)
def test_each_engine_of_a_gpu_needs_a_lane(
    job_file: Path, lanes: int | str, engines: int, valid: bool
) -> None:
    """Fewer lanes than engines that share a GPU are refused; the error names both numbers."""
    overrides = [f"resources.lanes={lanes}", f"resources.engines_per_gpu={engines}"]
    if valid:
        assert load_job(job_file, overrides)[0].resources.engines_per_gpu == engines
        return
    with pytest.raises(ConfigError, match=f"engines_per_gpu, which is {engines}, and not {lanes}"):
        load_job(job_file, overrides)


def test_files_are_relative_to_the_job_and_checked(job_file: Path, pictures: Path) -> None:
    """Paths are relative to the job file; the error names every file that cannot be used."""
    job, space = load_job(job_file)
    assert Path(job.pairs[0].content) == pictures / "content.png"
    assert space.name == "standard"
    (job_file.parent / "text.jpg").write_text("no picture")
    with pytest.raises(ConfigError) as caught:
        load_job(job_file, ["pairs.0.content=text.jpg", "space=grm", "pairs.0.style=none.png"])
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "not a picture" in text
    assert "none.png: no such image" in text
    assert "did you mean `gram`" in text


def test_a_metric_against_the_content_is_no_objective(job_file: Path) -> None:
    """A metric for which doing nothing scores best is refused as the only objective."""
    with pytest.raises(ConfigError, match="doing nothing scores best"):
        load_job(job_file, ["objective=edges"])
    assert load_job(job_file, ["objective=dists"])[0].objective == "dists"


def test_a_reference_must_have_the_contents_shape(job_file: Path) -> None:
    """A reference with another shape is refused, since pixels are compared."""
    Image.new("RGB", (64, 64)).save(job_file.parent / "square.png")
    with pytest.raises(ConfigError, match="another shape"):
        load_job(job_file, ["pairs.0.reference=square.png"])


def test_a_mask_must_have_the_shape_of_its_style_image(job_file: Path, pictures: Path) -> None:
    """`style_region` needs the aspect ratio of its style image, at any size."""
    width, height = Image.open(pictures / "style.png").size
    Image.new("RGB", (2 * width, 2 * height), "white").save(job_file.parent / "mask.png")
    Image.new("RGB", (width, 3 * height), "white").save(job_file.parent / "tall.png")

    def load(mask: str) -> None:
        data = yaml.safe_load(job_file.read_text())
        part = {"image": str(pictures / "style.png"), "style_region": str(job_file.parent / mask)}
        data["pairs"][0]["style"] = [part]
        (job_file.parent / "masked.yaml").write_text(json.dumps(data))
        load_job(job_file.parent / "masked.yaml")

    load("mask.png")
    with pytest.raises(ConfigError, match=r"style_region.*another shape than the style image"):
        load("tall.png")


def test_a_blend_space_needs_several_style_images(job_file: Path, pictures: Path) -> None:
    """For a space that blends styles, the error names each pair with too few style images."""
    style, mask = {"image": str(pictures / "style.png")}, str(pictures / "content.png")

    def problems(*styles: list[dict[str, str]]) -> str:
        data = yaml.safe_load(job_file.read_text())
        pairs = [{**data["pairs"][0], "style": images} for images in styles]
        path = job_file.parent / "blend.yaml"
        path.write_text(json.dumps({**data, "pairs": pairs, "space": "blend"}))
        with pytest.raises(ConfigError) as caught:
            load_job(path)
        return str(caught.value)

    text = problems([style], [style] * 6)
    for place in ("`pairs.0.style`", "`pairs.1.style`"):
        assert f"{place}: the space blend needs 2 to 5 style images" in text
    assert "got 3 here and 2 in the first pair" in problems([style] * 2, [style] * 3)
    good = json.dumps({**yaml.safe_load(job_file.read_text())["pairs"][0], "style": [style] * 2})
    few = good.replace(json.dumps([style] * 2), json.dumps([style]))
    with pytest.raises(ConfigError, match=r"`holdout.0.style`: the space blend needs"):
        load_job(job_file, ["space=blend", f"pairs=[{good}]", f"holdout=[{few}]"])
    apart = [style, {**style, "region": mask}]
    assert "each has a region of its own" in problems(apart)


@pytest.mark.parametrize("key", ["budget.target=0.2", "search.sampler=cmaes"])
def test_targets_and_cmaes_need_one_objective(key: str, job_file: Path) -> None:
    """A Pareto search accepts neither a target nor CMA-ES, which supports one objective."""
    load_job(job_file, [key])
    with pytest.raises(ConfigError, match=key.partition("=")[0]):
        load_job(job_file, [key, "objective=[lpips, rmse]"])


def test_a_blend_has_one_weight_per_style_image(job_file: Path) -> None:
    """The search space has as many blend parameters as the pairs have style images."""
    style = load_job(job_file)[0].pairs[0].style[0].image
    overrides = [f"pairs.0.style=[{{image: {style}}}, {{image: {style}}}, {{image: {style}}}]"]
    _, space = load_job(job_file, ["space=blend", *overrides])
    assert [name for name in space.params if "blend" in name] == ["log10_blend_2", "log10_blend_3"]


def test_a_space_with_a_given_start_needs_one(job_file: Path, pictures: Path) -> None:
    """If the space contains `init: image`, every pair needs a start picture."""
    space = {"name": "x", "why": "", "params": {"init": {"options": ["content", "image"]}}}
    (job_file.parent / "space.yaml").write_text(yaml.safe_dump(space))
    with pytest.raises(ConfigError, match=r"`pairs.0.start`: missing; the space x may start"):
        load_job(job_file, ["space=space.yaml"])
    load_job(job_file, ["space=space.yaml", f"pairs.0.start={pictures / 'content.png'}"])


def test_to_yaml_is_a_job_file(job_file: Path) -> None:
    """A job that is written as YAML and read again is the same job."""
    job, _ = load_job(job_file, ["resources.lanes=2", "budget.minutes=1.5"])
    copy = job_file.parent / "copy.yaml"
    copy.write_text(job.to_yaml())
    assert load_job(copy)[0] == job


def test_near_misses_are_suggested_at_any_depth(job_file: Path) -> None:
    """An unknown key in any section of a job gets the nearest key of that section suggested."""
    for change, meant in (
        ("budget.minuts=3", "minutes"),
        ("finals.seed=3", "seeds"),
        ("resources.lane=3", "lanes"),
        ("holdout=[{contnt: a, style: b, reference: c}]", "content"),
        ("holdout=[{content: a, style: [{image: a, wight: 1}], reference: c}]", "weight"),
        ("holdout=[{content: a, style: b, reference: {from: adain, encodr: c}}]", "encoder"),
    ):
        with pytest.raises(ConfigError, match=f"did you mean `{meant}`"):
            load_job(job_file, [change])


@pytest.mark.parametrize("name", ["\x1b]0;title\x07", "two\nlines", "\x9b31m"])
def test_a_name_has_no_control_characters(name: str, job_file: Path) -> None:
    """A name with control characters, which could control a terminal, is refused."""
    job = yaml.safe_load(job_file.read_text())
    with pytest.raises(ValidationError, match="control characters"):
        JobSpec.model_validate({**job, "name": name})
    assert JobSpec.model_validate({**job, "name": "Café 👩‍🎨 [x]"}).name == "Café 👩‍🎨 [x]"


def test_style_images_are_limited(job_file: Path) -> None:
    """A pair with more than 16 style images is refused."""
    style = load_job(job_file)[0].pairs[0].style[0].image
    images = ", ".join([f"{{image: {style}}}"] * 17)
    with pytest.raises(ConfigError, match=r"`pairs.0.style`: expected at most 16"):
        load_job(job_file, [f"pairs.0.style=[{images}]"])


def test_a_reference_that_is_not_made_yet_is_no_file(job_file: Path) -> None:
    """Asking for the file of a reference that is not made yet is an error."""
    job, _ = load_job(job_file, ["pairs.0.reference={from: long-run}"])
    with pytest.raises(InputError, match="has not been made"):
        _ = job.pairs[0].reference_file


def test_the_shipped_schema_is_current() -> None:
    """The JSON Schema in the package equals the one that the code generates."""
    shipped = (Path(__file__).parents[3] / "tuner" / "job" / "job.schema.json").read_text()
    assert shipped == schema_json()
    assert json.loads(shipped)["properties"]["pairs"]["minItems"] == 1


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.dictionaries(
        st.sampled_from([*JobSpec.model_fields, "x"]),
        JSON | st.lists(JSON, max_size=2) | st.dictionaries(st.text(max_size=4), JSON, max_size=2),
    )
)
def test_any_mapping_is_a_job_or_a_config_error(tmp_path: Path, data: dict[str, Any]) -> None:
    """Any mapping is either a valid job or refused with a ConfigError."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(data))
    try:
        load_job(path)
    except ConfigError as error:
        assert error.problems


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("weights={vgg61: a.pth}", "`weights.vgg61`: no such weights; did you mean `vgg"),
        ("weights={vgg16: nofile.pth}", "`weights.vgg16`: no such file .*nofile.pth"),
        ("budget.target=.nan", "budget.target"),
        ("objective={lpips: .inf}", "finite weights above 0"),
    ],
)
def test_values_without_effect_are_refused(job_file: Path, override: str, expected: str) -> None:
    """Unknown weights, missing files and numbers that are not finite are refused."""
    with pytest.raises(ConfigError, match=expected):
        load_job(job_file, [override])


def test_feed_forward_references_support_no_regions(job_file: Path, pictures: Path) -> None:
    """Styles in regions need a long-run reference, since networks put each style everywhere."""
    pair = load_job(job_file)[0].pairs[0]
    style = f"[{{image: {pair.style[0].image}, region: {pictures / 'content.png'}}}]"
    asked = f"{{content: {pair.content}, style: {style}, reference: {{from: SOURCE}}}}"
    load_job(job_file, [f"pairs.0={asked.replace('SOURCE', 'long-run')}"])
    with pytest.raises(ConfigError, match="use `from: long-run`"):
        load_job(job_file, [f"pairs.0={asked.replace('SOURCE', 'feed-forward')}"])


def test_a_single_item_needs_no_list(job_file: Path, pictures: Path) -> None:
    """A single style and a single run of `warm_start` may be written without a list."""
    data = yaml.safe_load(job_file.read_text())
    data["pairs"][0]["style"] = {"image": str(pictures / "style.png"), "weight": 2}
    data["search"] = {**data.get("search", {}), "warm_start": "runs/cafe"}
    (job_file.parent / "one.yaml").write_text(json.dumps(data))
    job, _ = load_job(job_file.parent / "one.yaml")
    assert [(style.image, style.weight) for style in job.pairs[0].style] == [
        (str(pictures / "style.png"), 2.0)
    ]
    assert job.search.warm_start == [str(job_file.parent / "runs/cafe")]
    data["pairs"][0]["style"]["weigt"] = 2
    (job_file.parent / "one.yaml").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"`pairs\.0\.style\.weigt`: no such key; did you mean"):
        load_job(job_file.parent / "one.yaml")


@pytest.mark.parametrize(
    ("styles", "place"),
    [
        ({"image": "s", "region": "none.png"}, "pairs.0.style.region"),
        ([{"image": "s", "region": "none.png"}], "pairs.0.style.0.region"),
        ([{"image": "s"}, {"image": "s", "region": "none.png"}], "pairs.0.style.1.region"),
    ],
)
def test_errors_name_masks_by_their_key(
    styles: Any, place: str, job_file: Path, pictures: Path
) -> None:
    """Errors use the keys of the file, whether or not a single style is in a list."""
    data = yaml.safe_load(job_file.read_text())
    for style in [styles] if isinstance(styles, dict) else styles:
        style["image"] = str(pictures / "style.png")
    data["pairs"][0]["style"] = styles
    (job_file.parent / "masked.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load_job(job_file.parent / "masked.yaml")
    assert f"`{place}`: " in str(caught.value)


def test_a_prior_is_checked_and_kept(job_file: Path) -> None:
    """A prior is checked against the space, is part of the fingerprint, and survives in the run."""
    stated = "space={base: gram, prior: {style_weight: [10, likely], tv: [on, sure]}}"
    job, space = load_job(job_file, [stated])
    assert job.space_name == "gram" and job.prior["tv"] == ["on", "sure"]
    assert JobSpec.model_validate(yaml.safe_load(job.to_yaml())).prior["style_weight"][0] == 10
    plain, _ = load_job(job_file, ["space=gram"])
    assert fingerprint(job, space, []).keys() - fingerprint(plain, space, []).keys() == {"prior"}
    with pytest.raises(ConfigError) as caught:
        load_job(job_file, ["space={base: gram, prior: {lrr: [1, sure], lr: [7, sure]}}"])
    assert [problem.partition("`: ")[0][-3:] for problem in caught.value.problems] == ["lrr", ".lr"]
    with pytest.raises(ConfigError, match=r"search.sampler.*sobol plans all trials beforehand"):
        load_job(job_file, [stated, "search.sampler=sobol"])
