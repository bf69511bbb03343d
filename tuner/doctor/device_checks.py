"""Checks of devices: whether a small computation works in every precision, on every device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.doctor.check import Check
from tuner.doctor.gpu_problems import driver_version, explain, has_no_gpu

if TYPE_CHECKING:
    import torch

#: Largest error of the computation in each precision, relative to its largest number. The formats
#: keep 24, 11, 8 and 11 bits, and each result is a sum of up to 4,096 products.
TOLERANCES = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 3e-2, "float16": 1e-2}

#: Precisions that differ on a CPU; float16 is for GPUs, and TF32 has no effect on a CPU.
CPU_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class DeviceResult:
    """Result of the small computation on one device.

    Attributes:
        works: precisions in which its result was right.
        problems: one line for each precision in which it failed or was wrong.
    """

    works: tuple[str, ...]
    problems: tuple[str, ...]


def check_gpus() -> Check:
    """Return what each GPU is and in which precisions it computes, or why no GPU can be used."""
    import torch

    if torch.version.cuda is None:
        found = f"torch {torch.__version__} is built without CUDA; trials run on the CPU"
        return Check(name="gpu", ok=None, found=found)
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # unlike `is_available`, it says why there is none
    except (RuntimeError, AssertionError) as error:
        if has_no_gpu(str(error)):
            found = "no NVIDIA GPU and driver that this process may use; trials run on the CPU"
            return Check(name="gpu", ok=None, found=found)
        return Check(name="gpu", ok=False, found=explain(str(error), torch.version.cuda))
    reports = [_gpu_report(index) for index in range(torch.cuda.device_count())]
    found = "; ".join([*(line for line, _ in reports), f"driver {driver_version() or 'unknown'}"])
    return Check(name="gpu", ok=all(ok for _, ok in reports), found=found)


def _gpu_report(index: int) -> tuple[str, bool]:
    """Return one line about a GPU, and whether everything worked on it."""
    import torch

    from nst_core.networks.precision_support import is_native

    device = torch.device("cuda", index)
    name = f"{torch.cuda.get_device_name(index)} (cuda:{index})"
    try:
        free, total = (value / 2**30 for value in torch.cuda.mem_get_info(index))
    except RuntimeError as error:
        return f"{name}: {explain(str(error), torch.version.cuda or '')}", False
    capability = torch.cuda.get_device_capability(index)
    result = compute(device, tuple(TOLERANCES))
    emulated = [p for p in ("tf32", "bfloat16") if p in result.works and not is_native(p, device)]
    line = (
        f"{name}: {free:.0f} of {total:.0f} GiB free, compute capability"
        f" {'.'.join(map(str, capability))}, {', '.join(result.works) or 'no precision'} work"
    )
    if emulated:
        line += f", but not natively, so no faster than float32: {', '.join(emulated)}"
    return "; ".join([line, *result.problems]), not result.problems


def compute(device: torch.device, precisions: tuple[str, ...]) -> DeviceResult:
    """Compute a convolution, its gradient and a matrix product in each precision.

    Every result is compared with the same computation in float64 on the CPU (`TOLERANCES`).

    Args:
        device: where to compute.
        precisions: precisions of `StyleConfig.precision`.
    """
    import torch

    expected = _small_step(torch.device("cpu"), torch.float64, "float32")
    works, problems = [], []
    for precision in precisions:
        try:
            dtype = getattr(torch, "float32" if precision == "tf32" else precision)
            found = _small_step(device, dtype, precision)
        except RuntimeError as error:  # of the driver, of cuDNN or of cuBLAS
            problems.append(f"{precision} fails: {explain(str(error), torch.version.cuda or '')}")
            continue
        off = max(
            float((value - right).abs().max() / right.abs().max())
            for value, right in zip(found, expected, strict=True)
        )
        if off <= TOLERANCES[precision]:
            works.append(precision)
        else:
            problems.append(
                f"{precision} computes wrong numbers: they differ by {off:.1e} from those of the"
                f" CPU, expected at most {TOLERANCES[precision]:.0e}; do not use this device"
            )
    return DeviceResult(works=tuple(works), problems=tuple(problems))


def _small_step(
    device: torch.device, dtype: torch.dtype, precision: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return features, their Gram matrix and the gradient of the pixels, float64 on the CPU."""
    import torch

    from nst_core.networks.precision import arithmetic

    generator = torch.Generator().manual_seed(0)
    image_N3HW = torch.rand(2, 3, 64, 64, generator=generator)
    filters = torch.randn(16, 3, 3, 3, generator=generator) / 5
    with arithmetic(precision, device):
        pixels = image_N3HW.to(device, dtype).requires_grad_()
        feat = torch.nn.functional.conv2d(pixels, filters.to(device, dtype), padding=1)
        flat_NCP = feat.flatten(2)
        gram_NCC = flat_NCP @ flat_NCP.mT / flat_NCP.shape[2]
        loss = (
            gram_NCC.float().square().sum() * flat_NCP.shape[2]
        )  # else float16 has no digits left
        (gradient,) = torch.autograd.grad(loss, pixels)
        feat, gram, grad = (t.detach().to("cpu", torch.float64) for t in (feat, gram_NCC, gradient))
    return feat, gram, grad
