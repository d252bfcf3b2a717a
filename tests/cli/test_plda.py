"""`imlkd plda` as a user types it."""

from pathlib import Path

import numpy as np
import pytest

from imlkd.kaldi_io import ArkWriter, write_table


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """12 speakers, five utterances each, 6 dimensions: train.scp, utt2spk; 30 of another domain: domain.scp."""
    generator = np.random.default_rng(0)
    with ArkWriter(tmp_path / "train.ark", tmp_path / "train.scp") as writer:
        for speaker in range(12):
            centre = generator.normal(size=6)
            for utterance in range(5):
                writer.write(f"s{speaker:02d}-{utterance}", centre + 0.5 * generator.normal(size=6))
    with ArkWriter(tmp_path / "domain.ark", tmp_path / "domain.scp") as writer:
        for utterance in range(30):
            writer.write(f"d{utterance:02d}", 1.0 + 3.0 * generator.normal(size=6))
    write_table(tmp_path / "utt2spk", {f"s{s:02d}-{u}": f"s{s:02d}" for s in range(12) for u in range(5)})
    return tmp_path


def test_fit_adapt_copy_show(data: Path, imlkd) -> None:  # type: ignore[no-untyped-def]
    done = imlkd("plda", "fit", data / "train.scp", data / "utt2spk", data / "backend", "--lda-dim", 4)
    assert (done.returncode, done.stderr) == (0, "")
    assert "transform to 4 dimensions; scale to the length sqrt(D); PLDA of 4 dimensions" in done.stdout
    assert done.stdout.endswith("enrolment of several utterances: book, trained on 12 speakers\n")
    names = sorted(path.name for path in (data / "backend").iterdir())
    assert names == ["backend.yaml", "mean.vec", "plda", "speakers", "transform.mat"]
    for method in ("kaldi", "coral"):
        done = imlkd("plda", "adapt", data / "backend", data / "domain.scp", data / method, "--method", method)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert (data / method / "plda").read_bytes() != (data / "backend/plda").read_bytes()
        assert (data / method / "speakers").read_text().split() == [f"s{s:02d}" for s in range(12)]
    done = imlkd("plda", "copy", data / "backend", data / "text", "--text")
    assert done.stdout == f"{data}/text: PLDA of 4 dimensions, text\n" and (data / "text").read_text()[:6] == "<Plda>"
    assert imlkd("plda", "copy", data / "text", data / "again").returncode == 0
    assert (data / "again").read_bytes() == (data / "backend/plda").read_bytes()
    assert "scale to the expected length in its space" in imlkd("plda", "show", data / "again").stdout


@pytest.mark.parametrize(
    ("lda", "message"),
    [
        ((), "few.scp: 3 speakers with 15 utterances cannot train a PLDA of 6 dimensions: .* LDA, to 2 at most"),
        (("--lda-dim", 4), "few.scp: LDA to 4 dimensions is impossible with 3 speakers, 15 utterances .*: at most 2 "),
    ],
)
def test_fewer_speakers_than_dimensions(lda: tuple[object, ...], message: str, data: Path, imlkd) -> None:  # type: ignore[no-untyped-def]
    import re

    few = (data / "train.scp").read_text().splitlines(keepends=True)[:15]
    (data / "few.scp").write_text("".join(few))
    done = imlkd("plda", "fit", data / "few.scp", data / "utt2spk", data / "backend", *lda)
    assert done.returncode == 1 and re.search(message, done.stderr) and done.stderr.count("\n") == 1
    assert not (data / "backend").exists()
    assert imlkd("plda", "fit", data / "few.scp", data / "utt2spk", data / "backend", "--lda-dim", 2).returncode == 0


def test_what_is_no_plda(data: Path, imlkd) -> None:  # type: ignore[no-untyped-def]
    (data / "plda").write_text("nothing\n")
    done = imlkd("plda", "copy", data / "plda", data / "out")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"imlkd: error: {data}/plda: at byte 0: expected <Plda>")
    assert not (data / "out").exists()
