"""Copies at other speeds: sound, names, labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from imlkd.corpora.audio import AudioReader
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.errors import UserError
from imlkd.features.speed import perturbed, speed_copies

RATE = 16000


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_tempo_and_pitch_move_together(factor: float) -> None:
    tone = torch.sin(2 * torch.pi * 500 * torch.arange(RATE) / RATE)
    moved = perturbed(tone, factor)
    assert abs(len(moved) - RATE / factor) <= 1
    spectrum = torch.fft.rfft(moved * torch.hann_window(len(moved))).abs()
    assert float(spectrum.argmax()) * RATE / len(moved) == pytest.approx(500 * factor, abs=1.5)


@pytest.mark.parametrize("factor", [0.905, 0.4, 2.01])
def test_factors_that_are_none(factor: float) -> None:
    with pytest.raises(UserError, match="expected a multiple of 0.01 between 0.5 and 2"):
        perturbed(torch.zeros(100), factor)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("speakers", ["new", "same"])
def test_copies(speakers: str, segments: bool, toy_corpus: Path, tmp_path: Path) -> None:
    source = toy_corpus
    if segments:
        source = tmp_path / "cut"
        source.mkdir()
        text = "".join(f"s{s}-u0 s{s}-u0 0.1 1.2\n" for s in range(4))
        (source / "segments").write_text(text)
        for name in ("wav.scp", "utt2spk"):
            (source / name).write_text("".join(line for line in open(toy_corpus / name) if "-u0 " in line))
    said: list[str] = []
    speed_copies(source, tmp_path / "sp", [0.9, 1.1], speakers, say=said.append)
    before, data = read_data_dir(source), read_data_dir(tmp_path / "sp")  # which checks all tables
    assert len(data.utt2spk) == 3 * len(before.utt2spk)
    assert len(data.spk2utt) == len(before.spk2utt) * (3 if speakers == "new" else 1)
    reader, old = AudioReader(data, RATE), AudioReader(before, RATE)
    for name, speaker in before.utt2spk.items():
        assert data.utt2spk[name] == speaker
        for factor in ("0.9", "1.1"):
            copy = f"sp{factor}-{name}" if speakers == "new" else f"{name}-sp{factor}"
            assert data.utt2spk[copy] == (f"sp{factor}-{speaker}" if speakers == "new" else speaker)
            expected = perturbed(torch.from_numpy(old.read(name)), float(factor))
            assert len(expected) == reader.num_samples(copy)
            torch.testing.assert_close(torch.from_numpy(reader.read(copy)), expected, atol=1 / 32768, rtol=0)
    with pytest.raises(UserError, match="sp: is there already"):
        speed_copies(source, tmp_path / "sp", [0.9], speakers)
    with pytest.raises(UserError, match="speakers others: expected new or same"):
        speed_copies(source, tmp_path / "x", [0.9], "others")


def test_the_command(toy_corpus: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from imlkd.cli.main import main

    call: Callable[..., object] = CliRunner().invoke
    arguments = ["data", "speed", str(toy_corpus), str(tmp_path / "sp"), "--factors", "0.9", "--speakers", "new"]
    done = call(main, arguments, catch_exceptions=False)
    assert getattr(done, "output", "").splitlines()[-1].endswith("32 utterances, 8 speakers (copies of new speakers)")
