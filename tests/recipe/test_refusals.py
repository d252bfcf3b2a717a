"""Settings, orders of stages, models and environments that cannot work: one line, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.recipe.workspaces import Result, Workspace, contents, damage, leftovers, logs_written_since, selected

STUDENT = "egs/minivox/conf_tiny/student.yaml"
TEACHER = "exp/minivox_teacher"
TARGETS = f"{TEACHER}/targets_minivox_train"


@dataclass(frozen=True)
class Case:
    """What is done to a finished run, the options of the next start, and what its last line has to name."""

    spoil: Callable[[Path], object]
    options: tuple[str, ...]
    fragments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    status: int = 1


def nothing(root: Path) -> None:
    pass


def rewrite(name: str, old: str, new: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return spoil


def remove(*names: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        for name in names:
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def blank(name: str) -> Callable[[Path], object]:
    """The same size, other bytes in the middle."""

    def spoil(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
        (root / name).write_bytes(content)

    return spoil


def no_tensors(root: Path) -> None:
    with zipfile.ZipFile(root / "weights.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch stolen'\ntR.")
        archive.writestr("archive/version", "3\n")


def plant(root: Path) -> None:
    """A torchaudio that ends as the real one does when torch is of another build."""
    (root / "planted/torchaudio").mkdir(parents=True)
    text = "Detected that PyTorch and TorchAudio were compiled with different CUDA versions."
    (root / "planted/torchaudio/__init__.py").write_text(f"raise RuntimeError({text!r})\n")


ONLY = {n: ("--stage", str(n), "--stop-stage", str(n)) for n in range(8)}
IMPORTED = ("--teacher", "resemblyzer", "--teacher-weights", "weights.pt", *ONLY[2])

CASES: dict[str, Case] = {
    "key misspelt": Case(
        rewrite(STUDENT, "epochs:", "epoch:"), (), (f"{STUDENT}:", "unknown key epoch", "did you mean epochs?")
    ),
    "wrong type": Case(
        rewrite(STUDENT, "epochs: 3", "epochs: three"), (), (f"{STUDENT}:", "epochs", "whole number", "'three'")
    ),
    "out of range": Case(
        rewrite(STUDENT, "width: 12", "width: 0"), (), (f"{STUDENT}:", "width: 0", "smallest allowed value 4")
    ),
    "no YAML": Case(rewrite(STUDENT, "  width", "\twidth"), (), (f"{STUDENT}:", "not YAML")),
    "key of the corpus misspelt": Case(
        rewrite("egs/minivox/conf_tiny/corpus.yaml", "test_voices", "test_voice"), ONLY[0],
        ("corpus.yaml:", "unknown key test_voice", "did you mean test_voices?"),
    ),
    "override misspelt": Case(nothing, ("--student-set", "training.epoch=3"), ("training.epoch=3", "epochs?")),
    "override of the relevance misspelt": Case(nothing, ("--relevance-set", "nods=4"), ("nods=4", "nodes?")),
    "no such configurations": Case(nothing, ("--conf", "egs/gone"), ("egs/gone", "no such folder", "--conf")),
    "stage out of range": Case(nothing, ("--stage", "8"), ("--stage 8", "from 0 to 7")),
    "stop-stage out of range": Case(nothing, ("--stop-stage", "-1"), ("--stop-stage -1", "from 0 to 7")),
    "stages the wrong way round": Case(nothing, ("--stage", "5", "--stop-stage", "4"), ("--stage 5", "--stop-stage 4")),
    "unknown option": Case(nothing, ("--stages", "5"), ("invalid option --stages", "--help")),
    "no true or false": Case(nothing, ("--force", "yes"), ("--force", "true or false", "'yes'")),
    "unknown corpus": Case(nothing, ("--corpus", "timit"), ("--corpus timit", "minivox, kaldi")),
    "data without its corpus": Case(nothing, ("--train", "data/minivox_train"), ("--train", "--corpus kaldi")),
    "unknown teacher": Case(nothing, ("--teacher", "resemblizer"), ("'resemblizer'", "did you mean resemblyzer?")),
    "unknown method": Case(nothing, ("--methods", "none,imkld"), ("'imkld'", "did you mean imlkd?")),
    "stage 1 without stage 0": Case(remove("data/minivox.sets.yaml"), ONLY[1], ("sets.yaml", "run stage 0 first")),
    "stage 2 without stage 1": Case(
        remove("data/minivox_teacher_train/.done.features"), ONLY[2], ("minivox_teacher_train", "run stage 1 first")
    ),
    "stage 3 without stage 2": Case(remove(f"{TEACHER}/.done"), ONLY[3], (TEACHER, "run stage 2 first")),
    "stage 4 without stage 3": Case(remove(TARGETS), ONLY[4], (TARGETS, "run stage 3 first")),
    "stage 4 with half of stage 3": Case(remove(f"{TARGETS}/.done"), ONLY[4], (TARGETS, "run stage 3 first")),
    "stage 5 without stage 4": Case(remove("exp/minivox_kd/.done"), ONLY[5], ("exp/minivox_kd", "4 (student) first")),
    "stage 6 without stage 5": Case(
        remove("exp/minivox_kd/xvectors_minivox_test"), ONLY[6], ("xvectors_minivox_test", "run stage 5 first")
    ),
    "stage 7 without stage 6": Case(
        remove("exp/minivox_kd/metrics"), ONLY[7], ("exp/minivox_kd/metrics", "run stage 6 first")
    ),
    "weights that are not there": Case(nothing, IMPORTED, ("weights.pt", "no such file", "--teacher-weights")),
    "weights that are none": Case(
        lambda root: (root / "weights.pt").write_text("hello"), IMPORTED, ("weights.pt", "damaged")
    ),
    "weights cut off": Case(
        lambda root: (root / "weights.pt").write_bytes((root / TEACHER / "final.pt").read_bytes()[:5000]),
        IMPORTED, ("weights.pt", "damaged"),
    ),
    "weights that would run code": Case(no_tensors, IMPORTED, ("weights.pt", "damaged")),
    "weights of another network": Case(
        lambda root: shutil.copy(root / TEACHER / "final.pt", root / "weights.pt"), IMPORTED, ("weights.pt", "not")
    ),
    "teacher damaged": Case(blank(f"{TEACHER}/final.pt"), ONLY[3], (f"{TEACHER}/final.pt", "damaged", "run its stage")),
    "student damaged": Case(
        blank("exp/minivox_kd/final.pt"), ONLY[5], ("exp/minivox_kd/final.pt", "damaged", "run its stage")
    ),
    "a plain file for exp": Case(
        lambda root: (root / "plain").write_text("precious"), ("--exp", "plain"), ("plain", "a plain file", "move it")
    ),
    "below a plain file": Case(
        lambda root: (root / "plain").write_text("precious"), ("--data", "plain/x"), ("plain/x", "plain file", "move")
    ),
    "white space in a path": Case(nothing, ("--exp", "my exp"), ("my exp", "white space", "choose another")),
    "a torchaudio for another torch": Case(
        plant, (), ("torchaudio", "different CUDA versions", "torch==2.11.0 torchaudio==2.11.0"),
        (("PYTHONPATH", "planted"),),
    ),
    "no Python": Case(nothing, (), ("/bin/false", "not a Python"), (("IMLKD_PYTHON", "/bin/false"),)),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, finished: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[tuple[Result, list[str]]]]]:
    """The cases that were asked for, two at a time: most of their seconds are Python's start."""
    folder = tmp_path_factory.mktemp("refused")

    def outcome(case: Case, number: int) -> tuple[Result, list[str]]:
        copied = Workspace(Path(shutil.copytree(finished.root, folder / str(number))))
        case.spoil(copied.root)
        before, start = contents(copied.root), time.time()
        result = copied.run(*case.options, **dict(case.environment))
        wrong = damage(before, contents(copied.root)) + leftovers(copied.root / "data", copied.root / "exp")
        if "Traceback" in result.out + result.err + logs_written_since(start, copied.root):
            wrong.append("a traceback")
        shutil.rmtree(copied.root)
        return result, wrong

    names = selected(request, "name")
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(outcome, CASES[name], number) for number, name in enumerate(names)}


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, outcomes: dict[str, Future[tuple[Result, list[str]]]]) -> None:
    result, wrong = outcomes[name].result()
    assert result.status == 1, result.out + result.err
    assert all(fragment in result.lines[-1] for fragment in CASES[name].fragments), result.err
    assert wrong == []


def other_python() -> Path | None:
    """A Python that is too old, if this machine has one."""
    places = [*Path.home().glob(".pyenv/versions/3.[89].*/bin/python3"), Path("/usr/bin/python3.9")]
    return next((place for place in places if place.exists()), None)


@pytest.mark.skipif(other_python() is None, reason="no Python older than 3.11 on this machine")
def test_a_python_that_is_too_old(code: Workspace) -> None:
    result = code.run("--data", "never", "--exp", "never", IMLKD_PYTHON=str(other_python()))
    assert result.status == 1 and not (code.root / "never").exists()
    assert str(other_python()) in result.lines[-1] and "3.11 to 3.13 is needed" in result.lines[-1]


@pytest.mark.skipif(shutil.which("setpriv") is None or os.getuid() != 0, reason="needs root and setpriv")
def test_an_exp_without_permission(code: Workspace, tmp_path: Path) -> None:
    """As a user to whom mode bits apply: root without its capabilities."""
    exp = tmp_path / "exp"
    exp.mkdir(mode=0o555)
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    result = code.call(*drop, "./run.sh", "--data", tmp_path / "data", "--exp", exp)
    assert result.status == 1 and "Traceback" not in result.err
    assert result.lines[-1].startswith(f"imlkd: error: {exp}: permission denied: choose another folder")
    assert list(exp.iterdir()) == []
