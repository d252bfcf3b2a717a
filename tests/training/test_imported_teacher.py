"""A published teacher, as stage 2 leaves it."""

from pathlib import Path

import pytest
import torch

import imlkd.training.imported_teacher as imported
from imlkd.config import load_config
from imlkd.errors import UserError
from imlkd.features.segments import SegmentsConfig
from imlkd.features.teacher_fbanks import SnippedFbankConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.networks import build_network
from imlkd.models.resnet import Resnet, ResnetConfig
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import load_model
from imlkd.recipe import TEACHERS_IN_FILES
from imlkd.training.head import HeadConfig
from imlkd.training.imported_teacher import import_teacher

CONFIG = HeadConfig(segments=SegmentsConfig(durations=[0.6], hop=0.3), epochs=5, held_out=0.25)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> SpeakerModel:
    """In place of the download: the same network with random weights."""
    torch.manual_seed(0)
    model = Ge2e().eval().requires_grad_(False)
    monkeypatch.setitem(imported.PUBLISHED, "resemblyzer", lambda weights: model)  # type: ignore[arg-type]
    return model


def test_what_is_left(toy_corpus: Path, tmp_path: Path, published: SpeakerModel) -> None:
    import_teacher("resemblyzer", None, toy_corpus, CONFIG, tmp_path, tmp_path / "progress", threads=1)
    assert 0 <= float((tmp_path / "log/head_accuracy").read_text()) <= 1
    assert load_config(HeadConfig, tmp_path / "config.yaml") == CONFIG
    model, state = load_model(tmp_path), published.state_dict()
    assert isinstance(model, Ge2e) and model.head is not None and model.head.speakers == ["s0", "s1", "s2", "s3"]
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items() if not k.startswith("head."))


def test_no_measured_accuracy_is_said_and_not_made_up(
    toy_corpus: Path, tmp_path: Path, published: SpeakerModel, capsys: pytest.CaptureFixture[str]
) -> None:
    config = HeadConfig(segments=CONFIG.segments, epochs=1, held_out=0.0)
    import_teacher("resemblyzer", None, toy_corpus, config, tmp_path, tmp_path / "progress", threads=1)
    assert (tmp_path / "log/head_accuracy").read_text() == "none\n"
    assert "not measured: no utterance is held out" in capsys.readouterr().out


def test_a_teacher_that_says_nan(toy_corpus: Path, tmp_path: Path, published: SpeakerModel) -> None:
    assert isinstance(published, Ge2e)
    published.linear.bias[3] = float("nan")
    with pytest.raises(UserError, match="^s0-u0-0060-00000: the teacher's output holds NaN or infinite values"):
        import_teacher("resemblyzer", None, toy_corpus, CONFIG, tmp_path, tmp_path / "progress", threads=1)


def test_a_poor_head_is_warned_of(
    toy_corpus: Path, tmp_path: Path, published: SpeakerModel, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(imported, "POOR_ACCURACY", 1.01)
    import_teacher("resemblyzer", None, toy_corpus, CONFIG, tmp_path, tmp_path / "progress", threads=1)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("head: ") and said[1] == f"warning: {said[0]}; label-level methods stand on this head"


def test_a_teacher_in_files(toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network and front-end as they were read, with a head for our speakers; the same answers after the disk."""
    torch.manual_seed(0)
    config, fbank = ResnetConfig(width=4, depth=10, embedding_dim=5), SnippedFbankConfig(num_mel_bins=24)
    model = build_network(config, fbank).eval().requires_grad_(False)
    monkeypatch.setitem(imported.FROM_FILES, "wespeaker", lambda path: model)  # type: ignore[arg-type]
    import_teacher("wespeaker", tmp_path, toy_corpus, CONFIG, tmp_path / "out", tmp_path / "progress", threads=1)
    found = load_model(tmp_path / "out")
    assert isinstance(found, Resnet) and (found.config, found.fbank) == (config, fbank)
    assert found.head is not None and found.head.speakers == ["s0", "s1", "s2", "s3"]
    waveform = torch.randn(16000)
    assert torch.equal(found.embed(waveform), model.embed(waveform))


def test_teachers_in_files_are_those_that_run_sh_knows_and_need_a_path() -> None:
    assert tuple(imported.FROM_FILES) == TEACHERS_IN_FILES
    for name in TEACHERS_IN_FILES:
        with pytest.raises(UserError, match=f"teacher {name}: no weights: give {name}:PATH"):
            imported.load_teacher(name, None)


def test_unknown_names_and_missing_weights(toy_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown teacher 'x'"):
        import_teacher("x", None, toy_corpus, CONFIG, tmp_path, None)
    with pytest.raises(UserError, match=f"^{tmp_path}/gone.pt: no such file"):
        import_teacher("resemblyzer", tmp_path / "gone.pt", toy_corpus, CONFIG, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()
