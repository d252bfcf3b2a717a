"""docs/architecture.md, Rooms: an import only ever points down, and the doors of the house cost no heavy import."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = [
    "cli", "doctor", "study", "reporting", "export", "training", "distillation", "attribution", "runtime", "scoring",
    "models", "features", "corpora",
]  # fmt: skip
GROUND = ["recipe", "done", "progress", "config", "kaldi_io", "onnx_session", "files", "errors"]
LEVEL = {name: level for level, name in enumerate(ORDER)} | dict.fromkeys(GROUND, len(ORDER))
LEVEL["features"], LEVEL["export"] = LEVEL["corpora"], LEVEL["reporting"]  # side by side
MODULES = [path for path in sorted((ROOT / "imlkd").rglob("*.py")) if path.name != "__init__.py"]
HEAVY = ("torch", "torchaudio", "lhotse", "captum", "kaldiio", "h5py")


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(path: Path, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in imports_of(path):
        if name.startswith("imlkd."):
            assert LEVEL[room_of(name)] >= LEVEL[own], f"{own} imports {name}"


@pytest.mark.parametrize("room", ["cli", "scoring", "corpora", *GROUND])
def test_doors_are_light(room: str) -> None:
    """In a fresh interpreter, so that what the modules import in turn counts too."""
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in MODULES if p.relative_to(ROOT).parts[1] in
             (room, f"{room}.py")]
    code = f"import sys, {', '.join(names)}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], f"{room} imports {done.stdout}at once"


def test_every_room_is_in_the_table() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rooms = {path.name for path in (ROOT / "imlkd").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(ORDER)
    assert all(f"`{room}/`" in page for room in rooms)
    assert {path.stem for path in (ROOT / "imlkd").glob("*.py")} - {"__init__"} == set(GROUND)
