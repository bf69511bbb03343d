from pathlib import Path

import pytest
import torch

from nst_core.config import FIELDS
from nst_core.networks import precision_support
from nst_core.networks.precision_support import FASTER, fastest_precision, has_bfloat16, is_native

CPU = torch.device("cpu")


def test_float32_is_native_everywhere_and_tf32_on_no_cpu() -> None:
    """Every device computes float32; only GPUs have TF32."""
    assert is_native("float32", "cpu")
    assert not is_native("tf32", "cpu")


@pytest.mark.parametrize(
    ("cpu_info", "native"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512vl\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512vl\n", False),
        ("model name\t: avx512_bf16\n", False),
        ("", False),
        (None, False),
    ],
)
def test_bfloat16_on_a_cpu_needs_its_instructions(
    cpu_info: str | None, native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU has bfloat16 if its flags say so; torch's own check also counts AVX-512 without it."""
    if native and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("torch computes no bfloat16 on this CPU at all")
    file = tmp_path / "cpuinfo"
    if cpu_info is not None:
        file.write_text(cpu_info)
    monkeypatch.setattr(precision_support, "_CPU_FLAGS_FILE", file)
    assert has_bfloat16(CPU) == is_native("bfloat16", "cpu") == native


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_is_float32_without_a_measured_precision(device: str) -> None:
    """`auto` stays at float32 on a device for which no faster precision was measured."""
    assert device not in FASTER or FASTER[device] in FIELDS["precision"].metadata["options"]
    if device not in FASTER:
        assert fastest_precision(device) == "float32"


def test_auto_takes_only_what_the_device_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` takes a measured precision only if this very device computes it natively."""
    monkeypatch.setattr(precision_support, "FASTER", {"cpu": "tf32"})
    assert fastest_precision("cpu") == "float32"
    monkeypatch.setattr(precision_support, "FASTER", {"cpu": "bfloat16"})
    assert fastest_precision("cpu") == ("bfloat16" if has_bfloat16(CPU) else "float32")
