"""Optional parts: teachers, k2, and programs beside Python."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

from imlkd.doctor.findings import Finding
from imlkd.doctor.packages import ROOT, run_probe
from imlkd.errors import UserError
from imlkd.recipe import TEACHERS_IN_FILES

LANE = ROOT / ".venv-k2/bin/python"  # an environment of its own, since k2 wants another torch
PROGRAMS = {"bash": "bash", "perl": "perl", "flock": "util-linux"}  # and the Debian package that holds it
TRAIN = "pip install '.[train]' in the checkout"


def teacher_findings(errors: Mapping[str, str]) -> Iterator[Finding]:
    """Which teachers could be used now."""
    torch = not errors.get("torch", "missing")
    own = f"own: trained by the recipe; {', '.join(f'{kind}:PATH' for kind in TEACHERS_IN_FILES)}: from files of yours"
    yield Finding("teachers", "fits", own) if torch else Finding("teachers", "lacks", "all need torch", TRAIN)
    yield resemblyzer_finding(torch)


def resemblyzer_finding(torch: bool) -> Finding:
    """Whether the weights of the published teacher are there and whole."""
    from imlkd.models.resemblyzer import REMEDY, find_weights, verified_weights

    try:
        find_weights()
    except UserError:
        return Finding("resemblyzer", "lacks", "its weights are not installed", REMEDY)
    try:
        says = f"weights at {verified_weights()}"
    except UserError as error:
        return Finding("resemblyzer", "fails", str(error).rpartition(": ")[0], REMEDY)
    return Finding("resemblyzer", "fits", says) if torch else Finding("resemblyzer", "lacks", f"torch; {says}", TRAIN)


def k2_finding(errors: Mapping[str, str]) -> Finding:
    """Whether k2 loads, here or in an environment of its own."""
    if errors.get("k2") == "":
        return Finding("k2", "fits", "loads in this environment")
    if LANE.is_file():
        problem = run_probe(0, ["k2"], str(LANE))["errors"]["k2"]
        if not problem:
            return Finding("k2", "fits", f"loads in {LANE}")
        return Finding("k2", "fails", f"{LANE}: {problem}", f"remove {LANE.parents[1]}, then local/setup_k2.sh")
    said = errors.get("k2", "not looked for")
    if "No module named" in said:
        return Finding(
            "k2", "lacks", "not installed: segments are found by numpy, with the same result", "local/setup_k2.sh"
        )
    return Finding("k2", "fails", said, "remove it from this environment: it was built for another torch")


def program_finding() -> Finding:
    """What the scripts of the recipe call."""
    missing = {name: package for name, package in PROGRAMS.items() if shutil.which(name) is None}
    if missing:
        packages = " ".join(missing.values())
        return Finding("programs", "lacks", f"{', '.join(missing)} (for the recipe)", f"apt-get install {packages}")
    return Finding("programs", "fits", ", ".join(PROGRAMS))
