#!/usr/bin/env python3
"""Write the tables of docs/dependencies.md: `. ./path.sh && "$IMLKD_PYTHON" docs/make_dependencies.py [FOLDER...]`.

Names come from the files of pins, reasons of what was chosen from here; for the rest it is looked up who asks for it,
in this environment and in those below the FOLDERs (site-packages of .venv-docs, say).
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/dependencies.md"
TABLE = re.compile(r"(<!-- pins of ([\w./-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
REASONS = {
    "numpy": "arrays; scores, error rates and intervals are computed with it alone",
    "soundfile": "reads and writes WAV, FLAC and what else libsndfile (LGPL-2.1, inside the wheel) knows",
    "PyYAML": "configurations, read by its safe loader",
    "click": "the command line",
    "tqdm": "progress bars",
    "onnxruntime": "runs exported students; no torch is needed for them",
    "torch": "networks, training, gradients",
    "torchaudio": "log mel as Kaldi computes it, filters, resampling, noise at an SNR",
    "lhotse": "cuts, manifests and Shar; their reading and writing",
    "lilcom": "Lhotse's compressed features",
    "h5py": "Lhotse's HDF5 arrays: relevance that hangs on cuts",
    "kaldiio": "compressed and text matrices of Kaldi's arks",
    "captum": "a second engine of Integrated Gradients, and their oracle",
    "matplotlib": "DET curves and pictures of relevance",
    "multi_quantization": "the quantiser of the method mvq",
    "tensorboard": "curves of a training; left out where it is not installed",
    "espeakng-loader": "espeak-ng and its voices (GPL-3.0-or-later, inside the wheel): speaks the built-in corpus",
    "soxr": "other sampling rates, on request",
    "onnx": "writes the graph of an exported student",
    "onnxscript": "torch's ONNX exporter is written in it",
    "safetensors": "weights as a file without code",
    "urllib3": "Lhotse imports it without saying so",
    "pytest": "runs the tests", "pytest-xdist": "one test a core", "hypothesis": "draws inputs of tests",
    "mypy": "checks types", "ruff": "checks style", "types-PyYAML": "types of PyYAML, for mypy",
    "scikit-learn": "k-means for classes without labels; oracle of error rates and logistic regression",
    "scipy": "rooms around crops, rank correlation of two maps; oracle of many numbers",
    "jinja2": "templates of the pages",
    "playwright": "drives the Chromium that is installed, which looks at the pages",
    "kaldi_native_io": "oracle of arks and scps", "kaldi-native-fbank": "oracle of log-mel features",
    "sherpa-onnx": "an exported file is loaded in it",
    "av": "reads m4a, on request (libavcodec, LGPL-2.1-or-later, inside the wheel)",
    "silero-vad": "a detector of speech, on request; its weights come inside the wheel",
    "mkdocs-material": "look of the site", "mkdocs": "builds the site",
}  # fmt: skip


def pins_of(path: Path) -> dict[str, str]:
    """Version by name."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.strip().split("==") for line in lines if re.match(r"[A-Za-z]", line))


def same(name: str) -> str:
    """One spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def askers(folders: list[str]) -> dict[str, set[str]]:
    """Who requires a package, by its name; extras that nobody asked for do not count."""
    found: dict[str, set[str]] = {}
    for one in metadata.distributions(path=[*folders, *sys.path]):
        for requirement in one.requires or []:
            match = re.match(r"[\w.-]+", requirement)
            if match and "extra ==" not in requirement:
                found.setdefault(same(match[0]), set()).add(one.metadata["Name"])
    return found


def table_of(pins: dict[str, str], known: dict[str, str], asked: dict[str, set[str]]) -> str:
    """Markdown: package, version, why."""
    reasons = {same(name): why for name, why in REASONS.items()}
    everyone = {same(name) for name in known}
    rows = ["| package | version | why |", "|---|---|---|"]
    for name, version in pins.items():
        by = sorted(asker for asker in asked.get(same(name), ()) if same(asker) in everyone)
        unnamed = "torch, as a part of cuda-toolkit" if name.startswith("nvidia-") else "nobody: take it out"
        why = reasons.get(same(name)) or f"needed by {', '.join(by) or unnamed}"
        rows.append(f"| {name} | {version} | {why} |")
    return "\n".join(rows) + "\n"


def filled(page: str, folders: list[str]) -> str:
    """``page`` with every table made anew."""
    known = {name: version for match in TABLE.finditer(page) for name, version in pins_of(ROOT / match[2]).items()}
    asked = askers(folders)
    return TABLE.sub(lambda match: match[1] + table_of(pins_of(ROOT / match[2]), known, asked) + match[3], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), sys.argv[1:]), encoding="utf-8")
