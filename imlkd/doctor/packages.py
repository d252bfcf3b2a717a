"""Python and packages: are they there, do they load, are they the tested ones?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from imlkd.doctor.findings import Finding

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("probe.py")
TESTED, OLDEST, NEWEST = (3, 11), (3, 11), (3, 13)
TIMEOUT = 600.0  # seconds: importing torch from a cold disk, on a busy machine, takes minutes
# Groups as in setup.py, and by distribution what is imported.
GROUPS: dict[str, tuple[str, ...]] = {
    "base": ("numpy", "soundfile", "PyYAML", "click", "tqdm", "onnxruntime"),
    "train": (
        "torch",
        "torchaudio",
        "lhotse",
        "urllib3",
        "lilcom",
        "h5py",
        "kaldiio",
        "captum",
        "matplotlib",
        "jinja2",
        "multi_quantization",
        "scikit-learn",
        "scipy",
    ),  # fmt: skip
    "export": ("onnx", "onnxscript", "safetensors"),
    "minivox": ("espeakng-loader",),
    "m4a": ("av",),
    "resample": ("soxr",),
    "silero": ("silero-vad",),
}
MODULES = {
    "PyYAML": "yaml", "espeakng-loader": "espeakng_loader", "silero-vad": "silero_vad", "scikit-learn": "sklearn",
}  # fmt: skip
FOR = {
    "base": "everything", "train": "the recipe", "export": "imlkd export", "minivox": "the built-in corpus",
    "m4a": "audio in m4a, without ffmpeg", "resample": "--resample", "silero": "speech activity by silero",
}  # fmt: skip


def run_probe(size: int, names: list[str], python: str = sys.executable) -> dict[str, Any]:
    """What ``probe`` prints; when its process dies or hangs, every package fails with that."""
    command = [python, str(PROBE), str(size), *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd="/")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    except subprocess.TimeoutExpired:
        problem = f"importing takes longer than {TIMEOUT:.0f} s"
    except OSError as error:
        problem = f"{python} does not start ({error.strerror})"
    except (ValueError, IndexError):
        problem = f"importing ends the process with {done.returncode}"
    return {"errors": dict.fromkeys(names, problem)}


def modules() -> list[str]:
    """All that is imported, installed or not."""
    return [MODULES.get(name, name) for names in GROUPS.values() for name in names]


def python_finding() -> Finding:
    """The interpreter."""
    version = sys.version_info[:2]
    says = f"{sys.version.split()[0]} at {sys.executable}"
    if not OLDEST <= version <= NEWEST:
        return Finding("python", "fails", says, "3.11 to 3.13 is needed; set IMLKD_PYTHON to one")
    if version != TESTED:
        return Finding("python", "differs", says, f"{TESTED[0]}.{TESTED[1]} is the tested one")
    return Finding("python", "fits", says)


def package_findings(errors: Mapping[str, str]) -> Iterator[Finding]:
    """A line a group, and one for each package that fails or differs from its pin."""
    pins = read_pins(ROOT / "requirements.txt")
    for group, names in GROUPS.items():
        yield group_finding(group, {name: installed_version(name) for name in names}, errors)
        for name in names:
            if (version := installed_version(name)) and pins.get(name.lower(), version) != version.partition("+")[0]:
                pin = pins[name.lower()]
                yield Finding(name, "differs", version, f"tested with {pin} (requirements.txt)", {"pin": pin})


def group_finding(group: str, versions: Mapping[str, str | None], errors: Mapping[str, str]) -> Finding:
    """Whether the packages of a group are there and load."""
    missing = [name for name, version in versions.items() if version is None]
    broken = {name: errors.get(MODULES.get(name, name), "") for name in versions if name not in missing}
    broken = {name: error for name, error in broken.items() if error}
    remedy = "pip install ." if group == "base" else f"pip install '.[{group}]' in the checkout"
    values = {"versions": dict(versions), "for": FOR[group]}
    if broken:
        name, error = next(iter(broken.items()))
        if {"torch", "torchaudio"} & set(broken):
            remedy = "install the pair torch==2.11.0 torchaudio==2.11.0 together"
        return Finding(group, "fails", f"{name} {versions[name]} does not load ({error})", remedy, values)
    if missing:
        return Finding(group, "lacks", f"{', '.join(missing)} (for {FOR[group]})", remedy, values)
    return Finding(group, "fits", ", ".join(f"{name} {version}" for name, version in versions.items()), "", values)


def installed_version(name: str) -> str | None:
    """Of a distribution; None when it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def read_pins(path: Path) -> dict[str, str]:
    """``name==version`` lines by name in small letters; nothing for an installed package without its checkout."""
    if not path.is_file():
        return {}
    lines = (line.partition("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line)
    return {name.strip().lower(): version.strip() for name, _, version in lines if not name.startswith("#")}
