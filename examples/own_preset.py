"""Save settings as a preset, a JSON file for `nst-tuner stylize --preset mine.json`."""

from pathlib import Path

from nst_core import Preset, StyleConfig, load_preset

config = StyleConfig(style_loss="wasserstein", optimizer="lbfgs", scales=3, steps=200)
Preset(name="mine", config=config, description="coarse to fine").save(Path("mine.json"))
print(load_preset("mine.json").config.style_layers)
