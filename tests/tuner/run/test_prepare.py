"""What a resumed run takes from its study."""

from search_spaces import CATALOGUE, space_from_dict, space_to_dict
from tests.tuner.made_results import job
from tuner.run.prepare import space_of_run
from tuner.study.storage import SPACE

GRAM = CATALOGUE["gram"]


def test_a_resumed_run_keeps_the_space_that_it_began_with() -> None:
    """A named space is the one in the study, whatever this version declares by that name."""
    declared = space_to_dict(GRAM) | {"version": 7}
    declared["params"] = {**declared["params"], "lr": {"low": 0.001, "high": 0.4, "log": True}}
    resumed = space_of_run(job(space="gram"), GRAM, {SPACE: declared})
    assert space_to_dict(resumed) == declared
    assert space_of_run(job(space="gram"), GRAM, {}) is GRAM
    of_file = space_from_dict(declared, "space.yaml")
    assert space_of_run(job(space="space.yaml"), of_file, {SPACE: space_to_dict(GRAM)}) is of_file
