"""docs/cli.md: every verb is there, and the examples for finished models run as they are printed."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imlkd.cli.main import COMMANDS
from tests.runtime.tiny_model import make_voices

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cli.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_voices(tmp_path)


def test_every_verb_has_an_example_or_a_word() -> None:
    words = set(re.findall(r"imlkd ([\w-]+)", PAGE)) | set(re.findall(r"`([\w-]+)`", PAGE))
    assert not set(COMMANDS) - words, "docs/cli.md lacks these verbs"


def test_examples_of_finished_models(folder: Path) -> None:
    """All but doctor, which looks at the machine: tests/cli/test_doctor.py runs that."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    script = "".join(line + "\n" for block in blocks for line in block.splitlines() if "imlkd doctor" not in line)
    assert script.count("imlkd ") > 12
    environment = os.environ | {"PATH": f"{ROOT}/utils:{os.environ['PATH']}", "IMLKD_PYTHON": sys.executable}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "embeddings.scp").is_file() and len((folder / "embeddings.jsonl").read_text().splitlines()) == 5
    assert "alice-2.wav: alice: same speaker" in done.stdout and "carol-1.wav: unknown" in done.stdout


def test_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = "".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(code, {}, "cli.md", None, 0)
    said: list[str] = []
    done = doctest.DocTestRunner().run(test, out=said.append)
    assert not done.failed and done.attempted == 4, "".join(said)
