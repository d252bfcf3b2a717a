"""The machine: processor, memory, disk, and how fast it multiplies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imlkd.doctor.findings import Finding

# What makes a product of matrices fast, the strongest first, as /proc/cpuinfo calls it.
FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")
BF16 = ("amx_bf16", "avx512_bf16")
LEAST_DISK, LEAST_MEMORY = 2.0, 2.0  # GiB: below this the recipe on the built-in corpus would end in the middle
GIB = float(1 << 30)


def processor_finding(cpuinfo: str) -> Finding:
    """Model, cores that this process may use, and the instructions for matrices."""
    lines = _fields(cpuinfo)
    flags = lines.get("flags", "").split()
    known = [flag for flag in FLAGS if flag in flags]
    cores = len(os.sched_getaffinity(0))
    says = f"{lines.get('model name', 'unknown')}, {cores} cores, {' '.join(known) or 'no AVX2'}"
    values = {"cores": cores, "instructions": known}
    if not any(flag in flags for flag in BF16):
        return Finding("processor", "fits", f"{says}; no bf16 instructions: bf16 is emulated", "", values)
    return Finding("processor", "fits", says, "", values)


def memory_finding(meminfo: str, limit: str) -> Finding:
    """What is available, or what the control group allows when that is less."""
    lines = _fields(meminfo)
    digits = lines.get("MemAvailable", "").split()[:1]
    if not digits or not digits[0].isdigit():
        return Finding("memory", "differs", "/proc/meminfo does not say", "look yourself: 2 GiB are needed")
    available = int(digits[0]) / (1 << 20)
    if limit.strip().isdigit():
        available = min(available, int(limit) / GIB)
    values = {"available_gib": round(available, 1)}
    if available < LEAST_MEMORY:
        return Finding("memory", "fails", f"{available:.1f} GiB available", "the recipe needs 2 GiB", values)
    return Finding("memory", "fits", f"{available:.1f} GiB available", "", values)


def disk_finding(folder: Path) -> Finding:
    """Free space where the results would go."""
    free = shutil.disk_usage(folder).free / GIB
    says, values = f"{free:.1f} GiB free in {folder.absolute()}", {"free_gib": round(free, 1)}
    if not os.access(folder, os.W_OK):
        return Finding("disk", "fails", f"{folder.absolute()} cannot be written", "start from another folder", values)
    if free < LEAST_DISK:
        return Finding("disk", "fails", says, "the built-in corpus needs 2 GiB, .venv 5.5 GB more", values)
    return Finding("disk", "fits", says, "", values)


def rate_finding(probed: Mapping[str, Any]) -> Finding:
    """How fast matrices are multiplied: float32 in numpy, float32 and bfloat16 in torch."""
    torch = probed.get("torch") or {}
    rates = {"numpy fp32": probed.get("numpy_gflops"), **{f"torch {k}": v for k, v in torch.get("gflops", {}).items()}}
    measured = {name: rate for name, rate in rates.items() if rate is not None}
    if not measured:
        return Finding("matrices", "lacks", "not measured", "numpy does not load, or --no-rate was given")
    says = ", ".join(f"{name} {rate:g} GFLOP/s" for name, rate in measured.items())
    values = {name.replace(" ", "_") + "_gflops": rate for name, rate in measured.items()}
    return Finding("matrices", "fits", f"{says} (2048 x 2048, best of 3)", "", values)


def gpu_finding(probed: Mapping[str, Any], devices: list[str]) -> Finding:
    """What torch can use; ``devices``: device files of NVIDIA's driver."""
    torch = probed.get("torch")
    gpus = (torch or {}).get("gpus", [])
    if gpus:
        return Finding("gpu", "fits", f"{', '.join(gpus)} (CUDA {torch['cuda']})", "", {"gpus": gpus})  # type: ignore[index]
    if devices:
        remedy = "install torch of [train]" if torch is None else "does the driver fit torch's CUDA (nvidia-smi)?"
        return Finding("gpu", "differs", "there is one, torch does not use it", remedy, {"gpus": []})
    return Finding("gpu", "lacks", "none; the recipe runs on processors", "", {"gpus": []})


def machine_findings(folder: Path, probed: Mapping[str, Any]) -> Iterator[Finding]:
    """All of the above, from this machine's own files."""
    yield processor_finding(_text("/proc/cpuinfo"))
    yield rate_finding(probed)
    yield gpu_finding(probed, sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*")))
    yield memory_finding(_text("/proc/meminfo"), _text("/sys/fs/cgroup/memory.max"))
    yield disk_finding(folder)


def _fields(text: str) -> dict[str, str]:
    """``name: value`` lines; of several processors the last one's."""
    parts = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in parts if colon}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
