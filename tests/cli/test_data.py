"""Every command of `imlkd data` once, one after the other as a user might."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from imlkd.cli.main import main
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.cuts import read_cuts
from imlkd.errors import UserError
from imlkd.kaldi_io import write_table

RATE = 16000


def call(*arguments: object) -> list[str]:
    done = CliRunner().invoke(main, ["data", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two speakers of two utterances, in FLAC; the tables are in a bad state."""
    folder = tmp_path / "raw"
    folder.mkdir()
    names = {f"s{s}-{u}": f"s{s}" for s in (1, 2) for u in (1, 2)}
    for index, name in enumerate(names):
        soundfile.write(tmp_path / f"{name}.flac", np.random.default_rng(index).normal(0, 0.1, RATE // 2), RATE)
    write_table(folder / "wav.scp", {name: f"flac -cds {tmp_path}/{name}.flac |" for name in names})
    lines = [f"{name} {speaker}\n" for name, speaker in reversed(names.items())]
    (folder / "utt2spk").write_text("".join([*lines, lines[0], "s9-1 s9\n"]))
    return folder


def test_all_commands(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"utt2spk:2: s2-1 is not in C order"):
        call("from-kaldi", data, tmp_path / "in")
    assert "kept 4 utterances out of 5" in call("fix", data)[-2]
    assert call("from-kaldi", data, tmp_path / "in")[-1].endswith("4 utterances in 4 recordings, 2 speakers")
    assert call("check", tmp_path / "in")[-1].endswith("4 utterances in 4 recordings are good")
    call("to-lhotse", tmp_path / "in", tmp_path / "c.jsonl.gz")
    assert call("check", tmp_path / "c.jsonl.gz")[-1].endswith("are good")
    call("from-lhotse", tmp_path / "c.jsonl.gz", tmp_path / "back")
    assert read_data_dir(tmp_path / "back").utt2dur == read_data_dir(tmp_path / "in").utt2dur
    call("to-kaldi", tmp_path / "c.jsonl.gz", tmp_path / "kaldi", "--flac", "pipe")
    assert (tmp_path / "kaldi/wav.scp").read_text() == (data / "wav.scp").read_text().replace("-cds", "-c -d -s")
    assert call("to-shar", tmp_path / "in", tmp_path / "shar", "--shard-size", "3")[-1].endswith("4 cuts in 2 shards")
    assert call("subset", tmp_path / "in", tmp_path / "two", "--number", "2")[-1].endswith("2 of 4 utterances")
    call("split", tmp_path / "in", "2", tmp_path / "parts")
    call("combine", tmp_path / "parts/1", tmp_path / "parts/2", tmp_path / "whole")
    assert (tmp_path / "whole/wav.scp").read_text() == (tmp_path / "in/wav.scp").read_text()
    call("split", tmp_path / "c.jsonl.gz", "2", tmp_path / "parts", "--per-utterance")
    call("combine", tmp_path / "parts/1.jsonl.gz", tmp_path / "parts/2.jsonl.gz", tmp_path / "whole.jsonl.gz")
    assert read_cuts(tmp_path / "whole.jsonl.gz") == read_cuts(tmp_path / "c.jsonl.gz")
    with pytest.raises(UserError, match="--number, --utterances or --speakers: give one of them"):
        call("subset", tmp_path / "in", tmp_path / "x")


@pytest.mark.parametrize("form", ["in", "c.jsonl.gz"])
def test_relocate(form: str, data: Path, tmp_path: Path) -> None:
    call("fix", data)
    call("from-kaldi", data, tmp_path / "in")
    call("to-lhotse", tmp_path / "in", tmp_path / "c.jsonl.gz")
    source, new = tmp_path / form, tmp_path / "moved to"
    new.mkdir()
    for path in tmp_path.glob("*.flac"):
        path.rename(new / path.name)
    with pytest.raises(UserError, match="no path begins with /old/"):
        call("relocate", source, "/old", new)
    call("relocate", source, tmp_path, new, "--out", tmp_path / f"copy.{form}")
    assert call("check", tmp_path / f"copy.{form}")[-1].endswith("4 recordings are good")
    with pytest.raises(UserError, match="no such file"):
        call("check", source)
    call("relocate", source, tmp_path, new)
    assert call("check", source)[-1].endswith("4 recordings are good")
