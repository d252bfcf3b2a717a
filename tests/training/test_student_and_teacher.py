"""Stages 2 and 4 on a small data directory: a teacher of one's own, its targets, and students by each method."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.attribution.origin import Origin
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.stage import explain_job, join_jobs
from imlkd.config import load_config, save_config
from imlkd.distillation.objective import METHODS, build_method
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.segments import Segment, SegmentsConfig, read_segments, write_segments
from imlkd.kaldi_io import ArkWriter, read_scp_arrays, read_table, write_table
from imlkd.models.store import load_model
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.config import FineTuningConfig, TrainingConfig
from imlkd.training.live_teacher import with_adapters
from imlkd.training.pool import grid_of, load_pool
from imlkd.training.student import StudentConfig, TeacherTargets, fine_tuned, method_of, train_student
from imlkd.training.teacher import TeacherConfig, train_teacher

TRAINING = TrainingConfig(epochs=3, batch=4, threads=1)
TEACHER = TeacherConfig(TdnnConfig(width=8, blocks=1, embedding_dim=6), TRAINING, SegmentsConfig(durations=[0.5, 1.0]))
STUDENT = StudentConfig(TdnnConfig(width=4, blocks=1, embedding_dim=5), TRAINING)
RELEVANCE = RelevanceConfig(
    segments=SegmentsConfig(durations=[0.5, 1.0]), nodes=2, max_nodes=2, max_failing=1.0, rho=0.3
)


@pytest.fixture(scope="module", autouse=True)
def leave_torch_as_it_was() -> object:
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="module")
def made(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Teacher and targets."""
    folder = tmp_path_factory.mktemp("exp")
    teacher, targets = folder / "teacher", folder / "teacher/targets_toy"
    train_teacher(toy_corpus, TEACHER, teacher, {}, folder / "progress")
    write_segments(targets / "segments", grid_of(toy_corpus, RELEVANCE.segments))
    save_config(RELEVANCE, targets / "config.yaml")
    DoneMarker(targets / ".done").begin({"x": "1"})
    explain_job(teacher, toy_corpus, targets, 1, 1, folder / "progress")
    join_jobs(targets, toy_corpus.parent / "manifests/toy.jsonl.gz", 1)
    return teacher, targets


def test_the_teacher_as_stage_2_leaves_it(made: tuple[Path, Path], toy_corpus: Path) -> None:
    teacher = made[0]
    model = load_model(teacher)
    assert isinstance(model, Tdnn) and model.config == TEACHER.network and model.fbank.num_mel_bins == 24
    assert model.head is not None and model.head.speakers == ["s0", "s1", "s2", "s3"]
    frames = np.concatenate(list(read_scp_arrays(toy_corpus / "feats.scp").values()))
    np.testing.assert_allclose(model.normalization.bin_mean.numpy(), frames.mean(0), rtol=1e-3)
    assert load_config(TeacherConfig, teacher / "config.yaml") == TEACHER
    assert 0 <= float((teacher / "log/seconds").read_text()) < 60  # tenths: three toy epochs may round to none
    assert len((teacher / "log/train.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", [*METHODS, "imlkd+ig-match"])
def test_a_student_by_each_method(made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path, name: str) -> None:
    models = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        method = method_of(name, None, folder, ["steps=4"] if name == "mvq" else [])
        train_student(toy_corpus, made[1], STUDENT, method, folder, {}, tmp_path / "progress")
        models.append(load_model(folder))
        network = with_adapters(STUDENT.network, method)
        assert load_config(StudentConfig, folder / "config.yaml") == dataclasses.replace(STUDENT, network=network)
        assert (folder / "method.yaml").is_file() is (name != "none")
    assert isinstance(models[0], Tdnn) and models[0].config == network
    first, second = (folder / "final.pt" for folder in (tmp_path / "a", tmp_path / "b"))
    assert first.read_bytes() == second.read_bytes()  # the same machine, the same student


def test_a_student_that_starts_as_its_teacher_and_keeps_its_head(
    made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = StudentConfig(TEACHER.network, TRAINING, start="teacher", head="teacher")
    method = method_of("kd", None, tmp_path, [])
    train_student(toy_corpus, made[1], config, method, tmp_path, {}, tmp_path / "progress")
    teacher, student = load_model(made[0]).state_dict(), load_model(tmp_path).state_dict()
    assert torch.equal(teacher["head.weight"], student["head.weight"])
    assert not torch.equal(teacher["first.0.weight"], student["first.0.weight"])
    said = capsys.readouterr().out
    assert "start: 31 of 31 tensors" in said and "head: the teacher's class weights, frozen" in said


@pytest.mark.parametrize("name", ["ecapa", "campplus"])
def test_a_student_of_another_network(made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path, name: str) -> None:
    small = {
        "ecapa": ["network.channels=16", "network.attention=4"],
        "campplus": ["network.layers=[1, 1, 1]", "network.growth=4", "network.front=2"],
    }
    overrides = [f"model={name}", *small[name], "training.epochs=1", "training.batch=4", "training.threads=1"]
    config = load_config(StudentConfig, None, overrides)
    train_student(toy_corpus, made[1], config, method_of("kd", None, tmp_path, []), tmp_path, {}, tmp_path / "p")
    assert load_config(StudentConfig, tmp_path / "config.yaml") == config
    model = load_model(tmp_path)
    assert type(model).__name__.lower() == name and model.head is not None


def test_two_views(made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(STUDENT, views=2)
    train_student(toy_corpus, made[1], config, build_method("kd"), tmp_path / "two", {}, tmp_path / "progress")
    train_student(toy_corpus, made[1], STUDENT, build_method("kd"), tmp_path / "one", {}, tmp_path / "progress")
    two, one = (load_model(tmp_path / name).state_dict() for name in ("two", "one"))
    assert any(not torch.equal(value, one[key]) for key, value in two.items())
    with pytest.raises(UserError, match="views: 2 is for methods of one view"):
        train_student(toy_corpus, made[1], config, build_method("imlkd"), tmp_path / "x", {}, tmp_path / "progress")


def test_stages_of_a_teacher_with_features_of_its_own(
    made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "teacher"
    shutil.copytree(made[0], copied)
    text = (copied / "model.yaml").read_text()
    assert "low_freq: 20" in text
    (copied / "model.yaml").write_text(text.replace("low_freq: 20", "low_freq: 40"))
    targets = copied / made[1].name
    train_student(toy_corpus, targets, STUDENT, build_method("at"), tmp_path / "own", {}, tmp_path / "progress")
    shared = made[1]  # the same teacher with the student's own front-end says something else
    train_student(toy_corpus, shared, STUDENT, build_method("at"), tmp_path / "same", {}, tmp_path / "progress")
    models = [load_model(tmp_path / name).state_dict() for name in ("own", "same")]
    assert any(not torch.equal(value, models[1][key]) for key, value in models[0].items())
    (copied / "model.yaml").unlink()
    with pytest.raises(UserError, match="holds no teacher, whose stages the method needs"):
        train_student(toy_corpus, targets, STUDENT, build_method("at"), tmp_path / "x", {}, tmp_path / "progress")


def test_answers_of_another_teacher_are_another_training(
    made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher's identity is part of a checkpoint, also where the teacher itself is not at hand."""
    targets, student = tmp_path / made[1].name, tmp_path / "student"
    shutil.copytree(made[1], targets)
    for teacher, said in (("1" * 16, "starting from scratch\n"), ("1" * 16, "going on after epoch 3"),
                          ("2" * 16, "starting from scratch (the teacher changed)")):  # fmt: skip
        origin = load_config(Origin, targets / "origin.yaml")
        save_config(dataclasses.replace(origin, teacher=teacher), targets / "origin.yaml")
        capsys.readouterr()
        train_student(toy_corpus, targets, STUDENT, build_method("kd"), student, {}, tmp_path / "progress")
        assert said in capsys.readouterr().out


def test_methods_differ_in_the_method_only(made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path) -> None:
    """A plain KD without weight is the student without a teacher: same start, same batches."""
    for name, overrides in (("none", []), ("kd", ["weight=0"]), ("imlkd", ["weight_input=0", "weight_integrated=0"])):
        method = method_of(name, None, tmp_path / name, overrides)
        train_student(toy_corpus, made[1], STUDENT, method, tmp_path / name, {}, tmp_path / "progress")
    expected = load_model(tmp_path / "none").state_dict()
    for name in ("kd", "imlkd"):
        for key, value in load_model(tmp_path / name).state_dict().items():
            torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-5)


def test_targets_are_those_of_the_batchs_segments(made: tuple[Path, Path], toy_corpus: Path) -> None:
    targets_dir = made[1]
    segments = read_segments(targets_dir / "segments")
    pool = load_pool(toy_corpus, segments, ["s0", "s1", "s2", "s3"])
    arrays = {k: read_scp_arrays(targets_dir / f"{k}.scp") for k in ("relevance", "cosines", "cosines_gated")}
    targets = TeacherTargets(targets_dir, segments, build_method("imlkd", None), 30.0)
    for chosen in pool.epoch_batches(400, 1, 0, 0):
        batch = targets.batch(pool, chosen)
        assert batch.teacher_logits is not None and batch.gate is not None and batch.teacher_logits_gated is not None
        for row, i in enumerate(chosen):
            name = segments[i].id
            np.testing.assert_allclose(batch.teacher_logits[row], 30 * arrays["cosines"][name], rtol=1e-6)
            np.testing.assert_allclose(batch.teacher_logits_gated[row], 30 * arrays["cosines_gated"][name], rtol=1e-6)
            np.testing.assert_allclose(batch.gate[row], 0.3 + 0.7 * arrays["relevance"][name], rtol=1e-6)


@pytest.mark.parametrize(("name", "read"), [("none", set()), ("kd", {"cosines"}), ("imlkd", {"cosines", "relevance"})])
def test_only_what_the_method_needs_is_read(made: tuple[Path, Path], tmp_path: Path, name: str, read: set[str]) -> None:
    (tmp_path / "config.yaml").write_text("rho: 0.3\n")
    for kind in ("cosines", "cosines_gated", "relevance"):
        if kind.split("_")[0] in read:
            (tmp_path / f"{kind}.scp").write_text((made[1] / f"{kind}.scp").read_text())
    targets = TeacherTargets(tmp_path, read_segments(made[1] / "segments"), build_method(name, None), 30.0)
    assert (targets.cosines is not None) is ("cosines" in read)
    assert (targets.relevance is not None) is ("relevance" in read)


def test_targets_that_do_not_fit(made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path) -> None:
    targets = made[1]
    other = tmp_path / "targets"
    other.mkdir()
    for path in targets.iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    method = build_method("kd", None)
    write_segments(other / "segments", [*read_segments(targets / "segments"), Segment("s3-u3", 1, 100)])
    with pytest.raises(
        UserError, match=r"cosines\.scp: lacks 1 segments \(first: s3-u3-0100-00001\): run stage 3 again"
    ):
        train_student(toy_corpus, other, STUDENT, method, tmp_path / "student", {}, tmp_path / "progress")
    write_segments(other / "segments", read_segments(targets / "segments"))
    with ArkWriter(other / "cosines.ark", other / "cosines.scp") as writer:
        for name in read_table(targets / "cosines.scp"):
            writer.write(name, np.zeros(3))
    with pytest.raises(UserError, match="targets are over 3 speakers, the data has 4: run stage 3 again"):
        train_student(toy_corpus, other, STUDENT, method, tmp_path / "student", {}, tmp_path / "progress")
    assert not (tmp_path / "student/final.pt").exists()


def test_without_targets(toy_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"segments: no such file"):
        method = build_method("kd", None)
        train_student(toy_corpus, tmp_path / "gone", STUDENT, method, tmp_path / "out", {}, tmp_path / "progress")


def test_training_data_of_one_utterance(toy_corpus: Path, tmp_path: Path) -> None:
    for name in ("utt2spk", "utt2num_frames", "feats.scp", "vad.scp"):
        key, value = next(iter(read_table(toy_corpus / name).items()))
        write_table(tmp_path / "one" / name, {key: value})
    (tmp_path / "one/features.yaml").write_text((toy_corpus / "features.yaml").read_text())
    with pytest.raises(UserError, match="no two training segments of one duration: the data is too little"):
        train_teacher(tmp_path / "one", TEACHER, tmp_path / "out", {}, tmp_path / "progress")


def test_large_margin_fine_tuning_goes_on_from_the_student(
    made: tuple[Path, Path], toy_corpus: Path, tmp_path: Path
) -> None:
    method, first, second = build_method("kd"), tmp_path / "kd", tmp_path / "kd_lm"
    train_student(toy_corpus, made[1], STUDENT, method, first, {}, tmp_path / "progress")
    tuned = fine_tuned(dataclasses.replace(STUDENT, fine_tuning=FineTuningConfig(margin=0.4, rate=0.01)), 1)
    assert (tuned.training.margin, tuned.training.epochs, tuned.training.longest) == (0.4, 1, True)
    train_student(toy_corpus, made[1], tuned, build_method("kd"), second, {}, tmp_path / "progress", init=first)
    before, after = load_model(first).state_dict(), load_model(second).state_dict()
    assert not torch.equal(before["segment.1.weight"], after["segment.1.weight"])
    torch.testing.assert_close(before["segment.1.weight"], after["segment.1.weight"], rtol=0.0, atol=1e-3)
    resolved = load_config(StudentConfig, second / "config.yaml")
    assert resolved == tuned


def test_only_the_longest_duration_of_each_utterance(toy_corpus: Path) -> None:
    pool = load_pool(toy_corpus, grid_of(toy_corpus, RELEVANCE.segments), ["s0", "s1", "s2", "s3"])
    pool.keep_longest()
    drawn = {int(i) for epoch in range(3) for batch in pool.epoch_batches(800, 3, 0, epoch) for i in batch}
    assert {pool.segments[i].frames for i in drawn} == {100}
    assert {pool.segments[i].utterance for i in drawn} == set(pool.offsets)
