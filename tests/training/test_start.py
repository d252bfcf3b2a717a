"""What a student takes from its teacher before the first step."""

from pathlib import Path

import pytest
import torch

from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.networks import NetworkSettings, build_network
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.store import save_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.training.start import follow_teacher, share_head, take_weights, warn_of_size


def network(config: NetworkSettings, speakers: str, seed: int) -> SpeakerModel:
    torch.manual_seed(seed)
    model = build_network(config, FbankConfig(num_mel_bins=9))
    model.head = CosineHead(config.embedding_dim, speakers.split())
    return model


def test_tensors_that_fit_are_taken_and_no_others() -> None:
    teacher = network(TdnnConfig(width=6, blocks=3, embedding_dim=5), "a b", 1)
    student = network(TdnnConfig(width=6, blocks=2, embedding_dim=4), "a b", 2)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    said = take_weights(student, teacher)
    theirs = teacher.state_dict()
    for name, value in student.state_dict().items():
        fits = name in theirs and theirs[name].shape == value.shape and not name.startswith("head.")
        assert torch.equal(value, theirs[name] if fits else before[name]), name
    assert not torch.equal(before["blocks.1.convolution.weight"], theirs["blocks.1.convolution.weight"])
    assert said.startswith("start: 31 of 37 tensors (789 of 905 values) are the teacher's: ")
    assert said.endswith(": normalization, first, blocks, last, segment")


def test_nothing_fits() -> None:
    teacher, student = network(EcapaConfig(channels=8), "a b", 1), network(TdnnConfig(width=6), "a b", 2)
    before = [value.clone() for value in student.parameters()]
    said = take_weights(student, teacher)
    assert all(map(torch.equal, before, student.parameters()))
    assert said.startswith("start: 1 of ") and said.endswith("are the teacher's: normalization")


def test_the_head_is_shared_by_speaker_and_learns_no_more() -> None:
    config = TdnnConfig(width=6, embedding_dim=4)
    teacher, student = network(config, "c a b", 1), network(config, "a b", 2)
    share_head(student, teacher)
    assert teacher.head is not None and student.head is not None
    assert torch.equal(student.head.weight, teacher.head.weight[[1, 2]])
    assert not student.head.weight.requires_grad
    student(torch.randn(2, 30, 9), torch.tensor([30, 30])).cosines.sum().backward()  # type: ignore[union-attr]
    assert student.head.weight.grad is None


@pytest.mark.parametrize(
    ("dim", "speakers", "message"),
    [
        (5, "a b", "head: the teacher's embeddings have 4 values, the student's 5: set network.embedding_dim to 4"),
        (4, "a z", r"head: the teacher's lacks 1 of the student's speakers \(first: z\)"),
    ],
)
def test_heads_that_do_not_fit(dim: int, speakers: str, message: str) -> None:
    teacher = network(TdnnConfig(width=6, embedding_dim=4), "c a b", 1)
    with pytest.raises(UserError, match=message):
        share_head(network(TdnnConfig(width=6, embedding_dim=dim), speakers, 2), teacher)


def test_the_teacher_is_the_model_around_the_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TdnnConfig(width=6, embedding_dim=4)
    teacher, student = network(config, "a b", 1), network(config, "a b", 2)
    follow_teacher(student, "fresh", "own", tmp_path / "gone/targets")
    with pytest.raises(UserError, match="gone: holds no teacher, which start: teacher and head: teacher need"):
        follow_teacher(student, "teacher", "own", tmp_path / "gone/targets")
    save_model(teacher, tmp_path)
    follow_teacher(student, "teacher", "teacher", tmp_path / "targets")
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.state_dict().items())
    assert capsys.readouterr().out.splitlines()[1] == "head: the teacher's class weights, frozen"


def test_a_student_that_is_no_smaller_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = (network(TdnnConfig(width=width, embedding_dim=4), "a b", 1) for width in (6, 7))
    warn_of_size(large, tmp_path / "nobody/targets")
    save_model(small, tmp_path)
    state = torch.get_rng_state()
    warn_of_size(small, tmp_path / "targets")
    assert capsys.readouterr().out == ""
    warn_of_size(large, tmp_path / "targets")
    counts = [sum(p.numel() for name, p in one.named_parameters() if "head" not in name) for one in (large, small)]
    said = f"warning: the student has {counts[0]} parameters, its teacher {counts[1]}: nothing is made smaller\n"
    assert capsys.readouterr().out == said
    assert torch.equal(state, torch.get_rng_state())  # the student's weights are drawn as without it
