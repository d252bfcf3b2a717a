"""The recipe with speech segments and evidence, by numpy and by k2: the same files, the same content."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from imlkd.attribution.segmentation.k2_lane import LANE, lane_python
from imlkd.attribution.segments import get_backend
from imlkd.kaldi_io import read_scp_arrays
from tests.recipe.workspaces import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        get_backend("auto").name != "k2" and lane_python() is None,
        reason="k2 does not import here and has no environment of its own: local/setup_k2.sh makes one (Python 3.9)",
    ),
]
TEXTS = ("evidence", "segments", "convergence.txt", "failed.txt", "utt2num_frames")


def files_of(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.suffix in (".scp", ".txt", ".gz", "")}


def compared(ours: Path, theirs: Path) -> int:
    """Same files, tables byte for byte, speech exactly, arrays to 1e-5; returns how many arrays."""
    assert files_of(ours) == files_of(theirs)
    counted = 0
    for path in sorted(ours.rglob("*")):
        other = theirs / path.relative_to(ours)
        if path.name in TEXTS:
            assert path.read_bytes() == other.read_bytes(), path
        elif path.suffix == ".scp" and path.stat().st_size and path.name != "wav.scp":
            arrays, others = read_scp_arrays(path), read_scp_arrays(other)
            assert list(arrays) == list(others)
            for name, array in arrays.items():
                tolerance = 0 if path.name.startswith("vad") else 1e-5
                np.testing.assert_allclose(array, others[name], atol=tolerance, rtol=0, err_msg=f"{path}: {name}")
                counted += 1
    return counted


def test_either_backend_gives_the_same_files(code: Workspace, tmp_path: Path) -> None:
    recipe = Workspace(Path(shutil.copytree(code.root, tmp_path / "imlkd")))
    if lane_python() is not None:
        (recipe.root / ".venv-k2").symlink_to(LANE.parents[1])
    conf = "egs/minivox/conf_tiny"
    speech = "energy_threshold: 9.5\n  segments:\n    minimum: 0.1\n    backend: numpy\n"
    recipe.edit(f"{conf}/features.yaml", "energy_threshold: 5.5\n", speech)
    recipe.edit(f"{conf}/relevance.yaml", "nodes: 4\n", "nodes: 4\nevidence:\n  minimum: 0.1\n  backend: numpy\n")
    said = []
    for backend in ("numpy", "k2"):
        for stage in (0, 1, 2, 3):
            folders = ("--data", f"{backend}/data", "--exp", f"{backend}/exp")
            result = recipe.run("--stage", stage, "--stop-stage", stage, *folders)
            assert result.status == 0, result.out + result.err
        said.append([line for line in result.out.splitlines() if line.startswith("evidence of")])
        for name in ("features", "relevance") if backend == "numpy" else ():
            recipe.edit(f"{conf}/{name}.yaml", "backend: numpy", "backend: k2")
    ours = recipe.root / "numpy"
    assert compared(ours, recipe.root / "k2") > 500
    assert said[0] == said[1] and len(said[0]) == 4
    targets = ours / "exp/minivox_teacher/targets_minivox_train"
    assert len((targets / "curves/fused/evidence").read_text().splitlines()) > 30
    marks = read_scp_arrays(ours / "data/minivox_train/vad.scp")
    assert 0.2 < np.mean([one.mean() for one in marks.values()]) < 0.98
