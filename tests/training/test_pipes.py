"""Audio that a command gives: trained on where it is allowed, refused in one line where it is not."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from imlkd.distillation.integrated_inputs import GateConfig
from imlkd.errors import UserError
from imlkd.features.segments import SegmentsConfig
from imlkd.kaldi_io import read_table, write_table
from imlkd.models.tdnn import TdnnConfig
from imlkd.training.config import TrainingConfig
from imlkd.training.frames import FramesConfig
from imlkd.training.student import method_of, train_student
from imlkd.training.teacher import TeacherConfig, train_teacher
from tests.training.stages import RELEVANCE, STUDENT, explained

pytestmark = pytest.mark.usefixtures("leave_torch_as_it_was")
TEACHER = TeacherConfig(
    TdnnConfig(width=4, blocks=1, embedding_dim=5), TrainingConfig(epochs=1, batch=4, threads=1),
    SegmentsConfig(durations=[0.5, 1.0]),
)  # fmt: skip


@pytest.fixture(scope="module")
def piped(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy corpus with `cat FILE |` in its wav.scp."""
    data = tmp_path_factory.mktemp("piped") / toy_corpus.name
    shutil.copytree(toy_corpus, data)
    write_table(data / "wav.scp", {name: f"cat {path} |" for name, path in read_table(data / "wav.scp").items()})
    return data


@pytest.fixture(scope="module")
def targets(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a teacher whose features are not the student's, so that it has to hear the audio."""
    teacher = tmp_path_factory.mktemp("exp") / "teacher"
    train_teacher(toy_corpus, TEACHER, teacher, {}, teacher / "progress")
    text = (teacher / "model.yaml").read_text()
    assert "low_freq: 20" in text
    (teacher / "model.yaml").write_text(text.replace("low_freq: 20", "low_freq: 40"))
    return explained(teacher, toy_corpus, RELEVANCE)[0]


def same_where_allowed(train: Callable[[Path, Path, bool], None], files: Path, pipes: Path, work: Path) -> None:
    train(files, work / "files", False)
    train(pipes, work / "pipes", True)
    assert (work / "files/final.pt").read_bytes() == (work / "pipes/final.pt").read_bytes()
    with pytest.raises(UserError, match=rf"^{pipes}/wav.scp: s0-u0: a pipe, which runs a command: allow it with"):
        train(pipes, work / "refused", False)


@pytest.mark.parametrize("method, gate", [("at", GateConfig()), ("imlkd", GateConfig(relevance="online", nodes=2))])
def test_a_teacher_beside_the_student(
    toy_corpus: Path, piped: Path, targets: Path, tmp_path: Path, method: str, gate: GateConfig
) -> None:
    config = dataclasses.replace(STUDENT, gate=gate)

    def train(data: Path, folder: Path, allow: bool) -> None:
        own = method_of(method, None, folder, [])
        train_student(data, targets, config, own, folder, {}, folder / "progress", allow_pipes=allow)

    same_where_allowed(train, toy_corpus, piped, tmp_path)


def test_frames_from_the_audio(toy_corpus: Path, piped: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(TEACHER, frames=FramesConfig("audio"))

    def train(data: Path, folder: Path, allow: bool) -> None:
        train_teacher(data, config, folder, {}, folder / "progress", allow_pipes=allow)

    same_where_allowed(train, toy_corpus, piped, tmp_path)
