"""Optional parts: teachers, k2, and programs beside Python."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from imlkd.doctor.findings import Finding
from imlkd.doctor.packages import ROOT, run_probe
from imlkd.errors import UserError

PROGRAMS = {"bash": "bash", "perl": "perl", "flock": "util-linux"}  # and the Debian package that holds it
TRAIN = "pip install '.[train]' in the checkout"


def teacher_findings(errors: Mapping[str, str]) -> Iterator[Finding]:
    """Which teachers could be used now."""
    from imlkd.models.resemblyzer import verified_weights

    torch = not errors.get("torch", "missing")
    own = "own: trained by the recipe; speechbrain:DIR, wespeaker:DIR, 3dspeaker:FILE: from files of yours"
    yield Finding("teachers", "fits", own) if torch else Finding("teachers", "lacks", "all need torch", TRAIN)
    try:
        yield Finding("resemblyzer", "fits" if torch else "lacks", f"weights at {verified_weights()}", "" if torch else TRAIN)
    except UserError as error:
        state, said = ("fails", str(error)) if "damaged" in str(error) else ("lacks", "its weights are not installed")
        yield Finding("resemblyzer", "fails" if state == "fails" else "lacks", said, "local/install_resemblyzer.sh")


def k2_finding(errors: Mapping[str, str]) -> Finding:
    """Whether k2 loads, here or in an environment of its own."""
    if errors.get("k2") == "":
        return Finding("k2", "fits", "loads in this environment")
    python = os.environ.get("IMLKD_K2_PYTHON") or str(ROOT / ".venv-k2/bin/python")
    if Path(python).is_file():
        problem = run_probe(0, ["k2"], python)["errors"]["k2"]
        if not problem:
            return Finding("k2", "fits", f"loads in {python}")
        return Finding("k2", "fails", f"{python}: {problem}", "make that environment again")
    said = errors.get("k2", "not looked for")
    if "No module named" in said:
        return Finding("k2", "lacks", "not installed: segments are found by numpy, with the same result")
    return Finding("k2", "fails", said, "remove it from this environment: it was built for another torch")


def program_finding() -> Finding:
    """What the scripts of the recipe call."""
    missing = {name: package for name, package in PROGRAMS.items() if shutil.which(name) is None}
    if missing:
        packages = " ".join(missing.values())
        return Finding("programs", "lacks", f"{', '.join(missing)} (for the recipe)", f"apt-get install {packages}")
    return Finding("programs", "fits", ", ".join(PROGRAMS))
