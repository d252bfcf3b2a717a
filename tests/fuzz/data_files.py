"""Recordings, arks, tables of a data directory, lists of trials, configurations."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from tests.conftest import RATE
from tests.fuzz.loader import Loader, all_of, voice


def _write_audio(name: str, subtype: str, **options: str) -> Callable[[Path], None]:
    return lambda folder: soundfile.write(folder / name, voice(), RATE, subtype=subtype, **options)


def _use_audio(folder: Path) -> None:
    """As stage 0 and stage 1 read it, and as ``imlkd verify`` does."""
    from imlkd.corpora.audio import Source, probe, read_source
    from imlkd.runtime.audio import AudioOptions, read_audio

    source = Source("a", str(next(folder.iterdir())), False, "wav.scp: a")
    all_of(
        lambda: probe(source),
        lambda: read_source(source, RATE),
        lambda: read_audio(source, RATE, AudioOptions(resample=True, channel=1)),
    )


def _write_arks(folder: Path) -> None:
    from imlkd.kaldi_io import ArkWriter

    with ArkWriter(folder / "x.ark", folder / "x.scp") as writer:
        writer.write("a", np.arange(4.0))
        writer.write("b", np.arange(6.0).reshape(2, 3))
    with open(folder / "x.ark", "ab") as stream:
        for key, content in (("c", b" [\n 1 2 3\n 4 5 6 ]\n"), ("d", _compressed())):
            stream.write(key.encode() + b" ")
            with open(folder / "x.scp", "a", encoding="utf-8") as scp:
                scp.write(f"{key} x.ark:{stream.tell()}\n")
            stream.write(content)
    text = (folder / "x.scp").read_text(encoding="utf-8").replace(f"{folder.absolute()}/", "")
    (folder / "x.scp").write_text(text, encoding="utf-8")


def _compressed() -> bytes:
    import kaldiio

    path = Path(os.path.abspath(f".compressed{os.getpid()}.ark"))
    kaldiio.save_ark(str(path), {"d": np.arange(12, dtype=np.float32).reshape(4, 3)}, compression_method=2)
    content = path.read_bytes()[2:]
    path.unlink()
    return content


def _use_arks(folder: Path) -> None:
    from imlkd.kaldi_io import read_scp_arrays

    assert sum(array.size for array in read_scp_arrays("x.scp").values()) < 1_000_000


def write_tables(folder: Path) -> None:
    """A data directory with segments."""
    soundfile.write(folder / "given-a.wav", voice(), RATE)
    tables = {
        "wav.scp": "r1 given-a.wav\nr2 given-a.wav\n",
        "segments": "s1-u1 r1 0.0 0.2\ns1-u2 r1 0.2 0.4\ns2-u1 r2 0.05 0.35\n",
        "utt2spk": "s1-u1 s1\ns1-u2 s1\ns2-u1 s2\n",
        "spk2utt": "s1 s1-u1 s1-u2\ns2 s2-u1\n",
        "spk2gender": "s1 m\ns2 f\n",
        "utt2dur": "s1-u1 0.2\ns1-u2 0.2\ns2-u1 0.3\n",
        "utt2lang": "s1-u1 en\ns1-u2 en\ns2-u1 de\n",
        "utt2lhotse": 's1-u1 {"order":1}\ns2-u1 {"custom":{"x":[1,2]}}\n',
    }
    for name, text in tables.items():
        (folder / name).write_text(text, encoding="utf-8")


def _use_tables(folder: Path) -> None:
    from imlkd.corpora.audio import AudioReader
    from imlkd.corpora.kaldi_dir import read_data_dir
    from imlkd.corpora.lhotse.cuts import to_cuts

    data = read_data_dir(".")
    reader = AudioReader(data, RATE)
    for utterance in data.utterances:
        reader.read(utterance)
    to_cuts(data)


def _configs() -> dict[str, Any]:
    """A small file and a large one, with lists, sections and a section that another key chooses."""
    from imlkd.training.check import CONFIGS

    return {name: CONFIGS[name] for name in ("relevance", "student")}


def _write_configs(folder: Path) -> None:
    from imlkd.corpora.sets import RecipeSets, write_sets

    for name, cls in _configs().items():
        text = yaml.safe_dump(dataclasses.asdict(cls()), sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    write_sets(RecipeSets("train", "train", ["test"], ["test/trials"]), folder / "sets.yaml")


def _use_configs(folder: Path) -> None:
    from imlkd.config import load_config
    from imlkd.corpora.sets import read_sets

    for name, cls in _configs().items():
        load_config(cls, folder / f"{name}.yaml")
    read_sets(folder / "sets.yaml")


def _write_lists(folder: Path) -> None:
    from imlkd.scoring.evaluate import evaluate  # noqa: F401  # read in the worker before its memory is measured

    trials = [(f"s{i}-u{j}", f"s{k}-u2", "target" if i == k else "nontarget") for i in range(3) for j in (0, 1)
              for k in range(3)]  # fmt: skip
    (folder / "trials").write_text("".join(f"{a} {b} {label}\n" for a, b, label in trials), encoding="utf-8")
    scores = "".join(f"{a} {b} {0.1 * place}\n" for place, (a, b, _) in enumerate(trials))
    (folder / "scores").write_text(scores, encoding="utf-8")
    names = sorted({name for trial in trials for name in trial[:2]})
    (folder / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in names), encoding="utf-8")


def _use_lists(folder: Path) -> None:
    from imlkd.scoring.evaluate import evaluate

    evaluate(folder / "scores", folder / "trials", [folder / "utt2spk"])


LOADERS = {
    "wav": Loader(_write_audio("a.wav", "PCM_16"), _use_audio),
    "float-wav": Loader(_write_audio("a.wav", "FLOAT", format="WAVEX"), _use_audio),
    "flac": Loader(_write_audio("a.flac", "PCM_16"), _use_audio),
    "arks": Loader(_write_arks, _use_arks),
    "tables": Loader(write_tables, _use_tables),
    "configurations": Loader(_write_configs, _use_configs),
    "lists": Loader(_write_lists, _use_lists),
}
