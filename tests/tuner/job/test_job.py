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
from tuner.job.load import load_job
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


def test_every_problem_with_line_key_value_and_near_miss(tmp_path: Path) -> None:
    """All errors of a file come at once, each with its line, key and value."""
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
        "line 9: `search.trials`: expected greater than or equal to 1, got -4",
        "did you mean `tpe`?",
        "line 10: `halving`: expected min_steps to be at most max_steps",
        "did you mean `lpips`?",
        "line 12: `resources.lanes`: expected auto or a whole number",
    ):
        assert part in text
    assert len(caught.value.problems) == 9


def test_files_are_checked_and_relative_to_the_job(job_file: Path, pictures: Path) -> None:
    """Paths are relative to the job file, and each unusable file is named with its line."""
    job, space = load_job(job_file)
    assert Path(job.pairs[0].content) == pictures / "content.png"
    assert space.name == "gram"
    (job_file.parent / "text.jpg").write_text("no picture")
    with pytest.raises(ConfigError) as caught:
        load_job(job_file, ["pairs.0.content=text.jpg", "space=grm", "pairs.0.style=none.png"])
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "not a picture" in text
    assert "none.png: no such image" in text
    assert "did you mean `gram`" in text


def test_doing_nothing_is_no_objective(job_file: Path) -> None:
    """A metric against the content is refused as the objective, and the error says why."""
    with pytest.raises(ConfigError, match="doing nothing scores best"):
        load_job(job_file, ["objective=edges"])
    assert load_job(job_file, ["objective=dists"])[0].objective == "dists"


def test_a_reference_must_have_the_contents_shape(job_file: Path) -> None:
    """A reference that shows another frame is refused, since pixels are compared."""
    Image.new("RGB", (64, 64)).save(job_file.parent / "square.png")
    with pytest.raises(ConfigError, match="another shape"):
        load_job(job_file, ["pairs.0.reference=square.png"])


def test_a_mask_on_a_style_image_must_have_its_shape(job_file: Path, pictures: Path) -> None:
    """What of a style image counts is a picture of that image's frame, however large."""
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
    with pytest.raises(ConfigError, match=r"style_region.*another shape than the style image's"):
        load("tall.png")


def test_a_blend_needs_style_images(job_file: Path, pictures: Path) -> None:
    """A space that weighs style images is refused by the key where they are missing."""
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
        assert f"{place}: the space blend weighs 2 to 5 style images against each other" in text
    assert "got 3 here and 2 in the first pair" in problems([style] * 2, [style] * 3)
    good = json.dumps({**yaml.safe_load(job_file.read_text())["pairs"][0], "style": [style] * 2})
    few = good.replace(json.dumps([style] * 2), json.dumps([style]))
    with pytest.raises(ConfigError, match=r"`holdout.0.style`: the space blend weighs"):
        load_job(job_file, ["space=blend", f"pairs=[{good}]", f"holdout=[{few}]"])
    apart = [style, {**style, "region": mask}]
    assert "each in a region of its own" in problems(apart)


@pytest.mark.parametrize("key", ["budget.target=0.2", "search.sampler=cmaes"])
def test_what_knows_one_objective_only(key: str, job_file: Path) -> None:
    """A Pareto search has no target, and no sampler that knows one objective only."""
    load_job(job_file, [key])
    with pytest.raises(ConfigError, match=key.partition("=")[0]):
        load_job(job_file, [key, "objective=[lpips, rmse]"])


def test_a_blend_is_of_the_images_that_there_are(job_file: Path) -> None:
    """The space of a job weighs as many style images as its pairs have."""
    style = load_job(job_file)[0].pairs[0].style[0].image
    overrides = [f"pairs.0.style=[{{image: {style}}}, {{image: {style}}}, {{image: {style}}}]"]
    _, space = load_job(job_file, ["space=blend", *overrides])
    assert [name for name in space.params if "blend" in name] == ["log10_blend_2", "log10_blend_3"]


def test_a_given_start_must_be_given(job_file: Path, pictures: Path) -> None:
    """A space that starts from a given picture needs one in every pair."""
    space = {"name": "x", "why": "", "params": {"init": {"options": ["content", "image"]}}}
    (job_file.parent / "space.yaml").write_text(yaml.safe_dump(space))
    with pytest.raises(ConfigError, match=r"`pairs.0.start`: missing; the space x starts"):
        load_job(job_file, ["space=space.yaml"])
    load_job(job_file, ["space=space.yaml", f"pairs.0.start={pictures / 'content.png'}"])


def test_to_yaml_is_a_job_file(job_file: Path) -> None:
    """The job as written by a run is the job that was read."""
    job, _ = load_job(job_file, ["resources.lanes=2", "budget.minutes=1.5"])
    copy = job_file.parent / "copy.yaml"
    copy.write_text(job.to_yaml())
    assert load_job(copy)[0] == job


def test_near_misses_at_any_depth(job_file: Path) -> None:
    """Every part of a job knows its own keys, and the parts within it."""
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
def test_a_name_is_text(name: str, job_file: Path) -> None:
    """A name that would command a terminal is refused."""
    job = yaml.safe_load(job_file.read_text())
    with pytest.raises(ValidationError, match="control characters"):
        JobSpec.model_validate({**job, "name": name})
    assert JobSpec.model_validate({**job, "name": "Café 👩‍🎨 [x]"}).name == "Café 👩‍🎨 [x]"


def test_style_images_are_limited(job_file: Path) -> None:
    """A pair has at most 16 style images, of which each takes its share of every step."""
    style = load_job(job_file)[0].pairs[0].style[0].image
    images = ", ".join([f"{{image: {style}}}"] * 17)
    with pytest.raises(ConfigError, match=r"`pairs.0.style`: expected at most 16"):
        load_job(job_file, [f"pairs.0.style=[{images}]"])


def test_a_reference_that_was_not_made(job_file: Path) -> None:
    """A job whose reference is still to be made has no file of it, and says so."""
    job, _ = load_job(job_file, ["pairs.0.reference={from: long-run}"])
    with pytest.raises(InputError, match="has not been made"):
        _ = job.pairs[0].reference_file


def test_the_shipped_schema_is_current() -> None:
    """The JSON Schema in the package is that of the code, and accepts the documented example."""
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
    """Whatever a job file holds, the answer is a job or a ConfigError."""
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
        ("weights={vgg16: nofile.pth}", "`weights.vgg16`: .*nofile.pth is not a file"),
        ("budget.target=.nan", "budget.target"),
        ("objective={lpips: .inf}", "finite weights above 0"),
    ],
)
def test_what_can_have_no_effect_is_refused(job_file: Path, override: str, expected: str) -> None:
    """A name that nothing reads, a file that is not there, a number that nothing reaches."""
    with pytest.raises(ConfigError, match=expected):
        load_job(job_file, [override])


def test_references_of_regions_keep_to_them(job_file: Path, pictures: Path) -> None:
    """A network that puts all styles everywhere makes no goal for styles in regions."""
    pair = load_job(job_file)[0].pairs[0]
    style = f"[{{image: {pair.style[0].image}, region: {pictures / 'content.png'}}}]"
    asked = f"{{content: {pair.content}, style: {style}, reference: {{from: SOURCE}}}}"
    load_job(job_file, [f"pairs.0={asked.replace('SOURCE', 'long-run')}"])
    with pytest.raises(ConfigError, match="use `from: long-run`"):
        load_job(job_file, [f"pairs.0={asked.replace('SOURCE', 'feed-forward')}"])


def test_one_of_what_may_be_several_needs_no_list(job_file: Path, pictures: Path) -> None:
    """A single style with its weight, and a single run to start from, stand as they are."""
    data = yaml.safe_load(job_file.read_text())
    data["pairs"][0]["style"] = {"image": str(pictures / "style.png"), "weight": 2}
    data["search"] = {**data.get("search", {}), "warm_start": "similar"}
    (job_file.parent / "one.yaml").write_text(json.dumps(data))
    job, _ = load_job(job_file.parent / "one.yaml")
    assert [(style.image, style.weight) for style in job.pairs[0].style] == [
        (str(pictures / "style.png"), 2.0)
    ]
    assert job.search.warm_start == ["similar"]
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
def test_a_mask_is_named_where_it_stands(
    styles: Any, place: str, job_file: Path, pictures: Path
) -> None:
    """Keys of errors are those of the file, whether a single style stands in a list or not."""
    data = yaml.safe_load(job_file.read_text())
    for style in [styles] if isinstance(styles, dict) else styles:
        style["image"] = str(pictures / "style.png")
    data["pairs"][0]["style"] = styles
    (job_file.parent / "masked.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load_job(job_file.parent / "masked.yaml")
    assert f"`{place}`: " in str(caught.value)
