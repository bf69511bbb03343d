"""The check of devices: right numbers pass, wrong numbers and failing kernels are named."""

from __future__ import annotations

import pytest
import torch

from nst_core.networks import precision_support
from tuner.doctor import device_checks, gpu_problems
from tuner.doctor.device_checks import CPU_PRECISIONS, TOLERANCES, check_gpus, compute

CPU = torch.device("cpu")


def test_this_cpu_computes_in_its_precisions() -> None:
    """On a CPU, float32 and bfloat16 are right; float16 is right within its own tolerance."""
    result = compute(CPU, tuple(TOLERANCES))
    assert set(CPU_PRECISIONS) <= set(result.works) and result.problems == ()


def test_wrong_numbers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose products are off by 5 % is named as wrong, in every precision."""
    right = device_checks._small_step
    calls = []

    def wrong(*arguments):  # type: ignore[no-untyped-def]
        calls.append(arguments)
        values = right(*arguments)
        return values if len(calls) == 1 else (values[0], 1.05 * values[1], values[2])

    monkeypatch.setattr(device_checks, "_small_step", wrong)
    result = compute(CPU, ("float32", "bfloat16"))
    assert result.works == ()
    assert len(result.problems) == 2
    assert "float32 computes wrong numbers: they differ by 5.0e-02" in result.problems[0]


def test_a_failing_precision_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel of one precision fails, its reason is named and the others are still tried."""
    right = device_checks._small_step

    def failing(device, dtype, precision):  # type: ignore[no-untyped-def]
        if dtype == torch.bfloat16:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED\nand a long stack")
        return right(device, dtype, precision)

    monkeypatch.setattr(device_checks, "_small_step", failing)
    result = compute(CPU, ("bfloat16", "float32"))
    assert result.works == ("float32",)
    (problem,) = result.problems
    assert problem.startswith("bfloat16 fails: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("message", "ok", "words"),
    [
        ("Found no NVIDIA driver on your system. Please check", None, "trials run on the CPU"),
        ("No CUDA GPUs are available", None, "trials run on the CPU"),
        (
            "The NVIDIA driver on your system is too old (found version 12040). Please update",
            False,
            "is too old: it supports CUDA 12.4",
        ),
        ("CUDA driver initialization failed, you might not have a CUDA gpu.", False, "nvidia-smi"),
    ],
)
def test_a_machine_without_a_usable_gpu_says_why(
    message: str, ok: bool | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU is a note; a GPU that cannot be used fails the check, with the reason."""

    def init() -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    check = check_gpus()
    assert check.ok is ok and words in check.found


def test_a_torch_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that is built for CPUs is a note that names this."""
    monkeypatch.setattr(torch.version, "cuda", None)
    check = check_gpus()
    assert check.ok is None and "built without CUDA" in check.found


@pytest.mark.parametrize(("capability", "emulated"), [((7, 5), "tf32, bfloat16"), ((9, 0), None)])
def test_precisions_that_are_not_native_are_named(
    capability: tuple[int, int], emulated: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of a GPU says which precisions work, and which of them it only emulates."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * 2**30, 16 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(precision_support, "has_bfloat16", lambda _: emulated is None)
    right = device_checks._small_step
    monkeypatch.setattr(
        device_checks, "_small_step", lambda _, dtype, precision: right(CPU, dtype, precision)
    )
    check = check_gpus()
    assert check.ok is True
    assert "Card (cuda:0): 3 of 16 GiB free" in check.found
    assert "float32, tf32, bfloat16, float16 work" in check.found
    assert ("but not natively" in check.found) == (emulated is not None)
    if emulated:
        assert check.found.split("than float32: ")[1].startswith(emulated)


def test_the_installed_driver_is_read(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's version comes from the file of NVIDIA's kernel module, of either kind."""
    file = tmp_path_factory.mktemp("proc") / "version"
    monkeypatch.setattr(gpu_problems, "DRIVER_FILE", file)
    assert gpu_problems.driver_version() is None
    for line, version in {
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19": "535.104.05",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65  Release": "580.65",
    }.items():
        file.write_text(line + "\nGCC version: gcc version 12.2.0 (Debian 12.2.0-14)\n")
        assert gpu_problems.driver_version() == version
