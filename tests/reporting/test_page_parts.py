"""What stands behind the page's pictures and tables, against other libraries and numbers worked out by hand."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from scipy.stats import norm
from scipy.stats import t as student

from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.kaldi_io import write_table
from imlkd.reporting.page import charts
from imlkd.reporting.page.document import filled
from imlkd.reporting.page.exported import export_tables
from imlkd.reporting.page.learning import learning_of
from imlkd.reporting.page.listening import Clips, flac_uri, hardest
from imlkd.reporting.page.relevance import chosen, png_uri, rank_correlation
from imlkd.reporting.page.scored import Gap, Scored, scored_of
from imlkd.reporting.page.tables import Cell, Table
from imlkd.scoring.compare import compare

RATE = 16000
VALUES = st.lists(st.integers(0, 6).map(float), min_size=3, max_size=30)


def payload(uri: str, kind: str) -> bytes:
    head, _, rest = uri.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(rest)


def scored(speakers: int = 12, quality: tuple[float, ...] = (3.0, 1.0, 2.0), draws: int = 100) -> Scored:
    """A list on which a teacher, a student without and one with distillation are better the higher their quality."""
    names = [f"s{s:02}-{u}" for s in range(speakers) for u in range(3)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    labels = np.array([a[:3] == b[:3] for a, b in pairs])
    trials = Trials(Path("t"), "kaldi", [a for a, _ in pairs], [b for _, b in pairs], labels)
    noise = np.random.default_rng(0).normal(size=len(pairs))
    scores = {name: q * labels + noise for name, q in zip(("teacher", "toy_none", "toy_kd"), quality, strict=True)}
    speaker = {name: name[:3] for name in names}
    return scored_of("toy/trials", trials, scores, speaker, draws)


@given(VALUES, st.data())
def test_rank_correlation_is_spearman_s(one: list[float], data: st.DataObject) -> None:
    """Pearson's, of ranks that are counted out."""
    other = data.draw(st.lists(st.integers(0, 6).map(float), min_size=len(one), max_size=len(one)))
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert rank_correlation(one, other) == 0.0
    else:
        assert rank_correlation(one, other) == pytest.approx(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: list[float]) -> list[float]:
    return [sum(x < y for x in values) + (values.count(y) + 1) / 2 for y in values]


def test_a_picture_has_a_pixel_a_frame_and_a_hole_where_nothing_is_known() -> None:
    values = np.array([[0.0, 0.5, 1.0, np.nan]])
    pixels = imread(io.BytesIO(payload(png_uri(values, "gray"), "image/png")))
    assert pixels.shape == (1, 4, 4)
    assert pixels[0, :, 0] == pytest.approx([0.0, 0.5, 1.0, 0.0], abs=0.01)
    assert pixels[0, :, 3].tolist() == [1.0, 1.0, 1.0, 0.0]


def test_a_clip_is_the_audio_itself() -> None:
    samples = (np.random.default_rng(0).integers(-(2**15), 2**15, 4000) / 2**15).astype(np.float32)
    heard, rate = soundfile.read(io.BytesIO(payload(flac_uri(samples, RATE), "audio/flac")), dtype="float32")
    assert rate == RATE
    np.testing.assert_array_equal(heard, samples)


def test_clips_end_where_the_page_is_full(toy_corpus: Path) -> None:
    clips = Clips(toy_corpus.parent, RATE, megabytes=0.1)
    first = clips.clip("toy", "s0-u3", seconds=1.0)
    assert first.seconds == 1.0 and first.said == "first 1.0 s of 2.0 s"
    assert clips.clip("toy", "a-model").said == "no recording of its own"
    rest = [clips.clip("toy", f"s{s}-u{u}", 1.0) for s in range(4) for u in range(3)]
    assert sum(len(clip.uri) for clip in [first, *rest]) <= 100_000
    assert rest[-1].uri == "" and rest[-1].said.startswith("no room")
    silent = Clips(toy_corpus.parent, RATE, wanted=False).clip("toy", "s0-u3")
    assert (silent.uri, silent.said) == ("", "no audio: --page-audio false")


def test_the_hardest_trials_are_the_farthest_on_the_wrong_side(toy_corpus: Path) -> None:
    names = [f"s{s}-u{u}" for s in range(4) for u in range(4)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    labels = np.array([a[:2] == b[:2] for a, b in pairs])
    trials = Trials(Path("t"), "kaldi", [a for a, _ in pairs], [b for _, b in pairs], labels)
    scores = labels + np.random.default_rng(3).normal(size=len(pairs))
    speaker = {name: name[:2] for name in names}
    one = scored_of("toy/trials", trials, {"m": scores}, speaker, 5)
    found = hardest(one, "m", Clips(toy_corpus.parent, RATE, wanted=False), count=2)
    assert [trial.target for trial in found] == [True, True, False, False]
    assert found[0].score == scores[labels].min() and found[0].beyond > 0
    sides = [clip.utterance for trial in found for clip in (trial.enroll, trial.test)]
    assert len(set(sides)) == len(sides)
    free = [i for i in np.flatnonzero(~labels) if not set(pairs[i]) & set(sides[:4])]
    assert found[2].score == max(scores[free])


def test_chosen_trials_are_of_different_speakers() -> None:
    one = scored()
    speaker = {name: name[:3] for name in one.trials.enroll + one.trials.test}
    pairs = chosen(one.trials, speaker, 4)
    assert len(pairs) == 4 and len({b[:3] for _, b in pairs}) == 4
    assert all(a[:3] == b[:3] and a != b for a, b in pairs)
    assert chosen(one.trials, {}, 4) == []


def test_differences_are_those_of_the_comparison_and_gaps_those_of_the_rates() -> None:
    one = scored()
    found = one.against_others("toy_kd")
    assert list(found) == ["teacher", "toy_none"]
    alone = compare(one.by_speaker["toy_kd"], one.by_speaker["toy_none"], (0.01,), 100)
    assert alone is not None
    assert found["toy_none"].eer.difference == alone.eer.difference < 0
    assert found["toy_none"].eer.interval == alone.eer.interval
    (gap,) = one.gaps("toy_none", "teacher")
    eer = {name: found[other].eer.second for name, other in (("teacher", "teacher"), ("none", "toy_none"))}
    own = found["teacher"].eer.first
    assert gap.model == "toy_kd" and gap.closed == pytest.approx((eer["none"] - own) / (eer["none"] - eer["teacher"]))
    assert gap.interval is not None and gap.interval.low < gap.closed < gap.interval.high
    teacher, none, kd = (one.drawn.eer(index)[1] for index in range(3))
    tail = norm.cdf(-student.ppf(0.975, 11) * (12 / 11) ** 0.5)  # further out than percentiles, for 12 speakers
    low, high = np.quantile((none - kd) / (none - teacher), [tail, 1 - tail])
    assert (gap.interval.low, gap.interval.high) == pytest.approx((low, high), rel=0.01)


def test_there_is_no_gap_to_a_teacher_that_is_no_better() -> None:
    (worse,) = scored(quality=(1.0, 2.0, 3.0)).gaps("toy_none", "teacher")
    assert (worse.closed, worse.interval) == (None, None)
    (unsure,) = scored(speakers=4, quality=(1.02, 1.0, 1.01)).gaps("toy_none", "teacher")
    assert unsure.interval is None


def log_of(folder: Path, losses: list[float], **terms: float) -> Path:
    (folder / "log").mkdir(parents=True)
    lines = [json.dumps({"epoch": i, "loss": loss, **terms}) for i, loss in enumerate(losses, start=1)]
    (folder / "log/train.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text("seed: 1\n")
    return folder


def test_learning_beside_what_was_expected(tmp_path: Path) -> None:
    good = log_of(tmp_path / "a/model", [4.0, 2.0, 1.0], aam=1.0, kd=0.5, gradient_aam=9.0, spread=1.0)
    (good / "log/expected.jsonl").write_bytes((good / "log/train.jsonl").read_bytes())
    found = learning_of(good)
    assert found is not None and list(found.terms) == ["loss", "aam", "kd"]
    assert found.expected == [4.0, 2.0, 1.0] and "at epoch 1: 4 against 4, 0.0 %" in found.said
    short = log_of(tmp_path / "b/model", [4.0, 3.0])
    (short / "log/expected.jsonl").write_bytes((good / "log/train.jsonl").read_bytes())
    other = learning_of(short)
    assert other is not None and list(other.terms) == ["loss"]
    assert "at epoch 2: 3 against 2, 50.0 %; 2 epochs, expected 3." in other.said
    (short / "log/expected.jsonl").unlink()
    alone = learning_of(short)
    assert alone is not None and alone.expected == [] and "no curve for a training with these settings" in alone.said
    assert learning_of(tmp_path) is None  # imported: no log
    (good / "log/train.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"train\.jsonl:1: no entry of epoch 1"):
        learning_of(good)


def test_the_table_of_an_export(tmp_path: Path) -> None:
    assert export_tables(tmp_path) == ({}, [])
    interval = {"low": 0.1, "high": 0.3}
    whole: dict[str, Any] = {"farthest": 0.0, "refused": False, "size_mb": 1.5, "latency_ms": 2.0, "rtf": 0.001,
                             "memory_mb": 70.0}  # fmt: skip
    variants = [
        {"variant": "fp32", **whole,
         "lists": {"t/l": {"eer": {"value": 0.2, "interval": interval}, "difference": None}}},
        {"variant": "int8", **whole, "refused": True, "lists": {
            "t/l": {"eer": {"value": 0.25, "interval": None},
                    "difference": {"difference": 0.05, "interval": {"low": -0.01, "high": 0.06}, "p": 0.04}}}},
    ]  # fmt: skip
    (tmp_path / "export").mkdir()
    (tmp_path / "export/export.json").write_text(json.dumps({"variants": variants, "files": ["model.onnx"]}))
    tables, files = export_tables(tmp_path)
    assert files == ["model.onnx"] and list(tables) == ["t/l"]
    rows = [[cell.text for cell in row] for row in tables["t/l"].rows]
    assert rows[0][:4] == ["fp32", "20.00 % [10.00, 30.00]", "-", "-"]
    assert rows[1][:4] == ["int8 (refused)", "25.00 %", "+5.00 % [-1.00, +6.00]", "0.04"]
    (tmp_path / "export/export.json").write_text("{}")
    with pytest.raises(UserError, match=r"export\.json: damaged"):
        export_tables(tmp_path)


def test_charts_are_markup_in_the_page_s_ink() -> None:
    one = scored()
    drawn = [
        charts.det_chart("a<b", one.targets, "toy_kd"),
        charts.histogram_chart("l", "<script>alert(1)</script>", *one.targets["toy_kd"]),
        charts.histogram_chart("l", "flat", np.zeros(3), np.zeros(4)),
        charts.gap_chart("l", [Gap("$x$ & y", 0.5, None)]),
    ]
    for chart in drawn:
        assert chart.startswith("<svg role=") and "currentColor" in chart and "#010203" not in chart
        assert "<script" not in chart and "a<b" not in chart
    assert "$x$ &amp; y" in drawn[-1]
    again = charts.gap_chart("l", [Gap("$x$ & y", 0.5, None)])
    assert again == drawn[-1]
    ids = [name for chart in drawn for name in re.findall(r' id="([^"]+)"', chart)]
    assert len(set(ids)) == len(ids), "two pictures of a page share an id"


def test_what_comes_from_the_corpus_is_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    table = Table(["<i>"], [[Cell(evil)]], evil)
    page = filled("compare.html", first=evil, second="b", tables={evil: table}, det={evil: ""})
    assert page.count("<script") == 1 and "&lt;i&gt;" in page
    assert "<script>alert" not in page


def test_readers_of_pages_are_told_of_a_missing_utt2spk(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    write_table(tmp_path / "toy/wav.scp", {"a": "a.wav"})
    with pytest.raises(UserError, match="utt2spk"):
        Clips(tmp_path, RATE).clip("toy", "a")
