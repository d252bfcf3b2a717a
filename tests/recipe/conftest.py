"""The recipe as a user meets it: `./run.sh` in a copy of the repository's tree, with real audio and real results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipe.workspaces import CODE, ROOT, Workspace


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The recipe without data or results; to be read only."""
    root = tmp_path_factory.mktemp("recipe") / "imlkd"
    root.mkdir()
    for name in CODE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, root / name)  # type: ignore[operator]
    return Workspace(root)


@pytest.fixture(scope="session")
def finished(code: Workspace) -> Iterator[Workspace]:
    """A finished run of the tiny configuration in ``data`` and ``exp``; to be read only."""
    whole = Workspace(Path(shutil.copytree(code.root, code.root.parent / "finished")))
    result = whole.run()
    assert result.status == 0, result.out + result.err
    yield whole
    shutil.rmtree(whole.root)


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of the finished run that a test may change."""
    copied = Workspace(Path(shutil.copytree(finished.root, tmp_path / "imlkd")))
    yield copied
    shutil.rmtree(copied.root)
