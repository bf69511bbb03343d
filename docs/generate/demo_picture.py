"""``python -m docs.generate.demo_picture RUN``: write docs/images/demo.jpg from a run of the demo."""

from __future__ import annotations

import sys
from pathlib import Path

from tuner.results.contact_sheet import first_look
from tuner.results.results import load_results

if __name__ == "__main__":
    picture = first_look(load_results(Path(sys.argv[1])))
    picture.save(Path(__file__).parents[1] / "images" / "demo.jpg", quality=92)
