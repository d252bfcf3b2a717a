import json
from pathlib import Path

import numpy as np
import pytest

from imlkd.attribution.areas import Result
from imlkd.attribution.faithfulness import Measured
from imlkd.attribution.faithfulness_run import Report
from imlkd.study.execute import Places
from imlkd.study.maps import maps_table, summary, wanted
from imlkd.study.plan import StudyConfig, runs_of
from imlkd.study.record import Record

ORDERS = ("kaldi_teacher", "own", "energy", "random")
AREAS = dict(zip(ORDERS, (0.7, 0.6, 0.5, 0.4), strict=True))


def report() -> Report:
    agreement = np.array([[1, 0.25, 0, 0], [0.25, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
    nothing = np.zeros((1, 4, 2, 1), np.float32)
    measured = Measured(2.0, ORDERS, 2, ["u"], nothing, nothing, agreement, {}, None, None)
    results = [
        Result(seconds, mode, measure, {}, {order: sign * area + extra for order, area in AREAS.items()}, {})
        for seconds in (1.0, 2.0)
        for mode, sign in (("insertion", 1.0), ("deletion", -1.0))
        for measure, extra in (("top1", 0.5), ("cosine", 0.0))
    ]
    return Report({}, [measured], results, {"u": "s"})


def test_a_report_comes_down_to_agreement_and_areas() -> None:
    assert summary(report()) == {
        "2": {
            "agreement": 0.25,
            "insertion_own": 0.6, "insertion_energy": 0.5, "insertion_random": 0.4,
            "deletion_own": -0.6, "deletion_energy": -0.5, "deletion_random": -0.4,
        }
    }  # fmt: skip


def test_runs_without_maps_are_wanted_and_the_table_is_a_mean_over_folds(tmp_path: Path) -> None:
    config = StudyConfig(folds=2, main=["none"], main_seeds=2)
    places = Places(tmp_path / "toy.yaml", tmp_path, tmp_path, tmp_path / "results")
    places.file.write_text("")
    runs = [run for run in runs_of(config, places.file) if run.row.label in ("none", "kd")]
    for run in runs:
        label, fold, seed = run.row.label, run.fold, run.seed
        record = Record("toy", label, "small", fold, seed, run.settings(), "", "", 1, 1.0, {})
        record.write(places.records / f"{run.name}.json")
    assert list(maps_table(config, "small", places.results)) == []
    first = wanted(config, places)
    assert [run.name for run in first] == ["none.small.f1.s1", "none.small.f2.s1"]  # no kd, no second seed
    places.maps.mkdir()
    for run, agreement in zip(first, (0.25, 0.75), strict=True):
        durations = summary(report())
        durations["2"]["agreement"] = agreement
        found = {"settings": run.settings(), "durations": durations}
        (places.maps / f"{run.name}.json").write_text(json.dumps(found))
    assert wanted(config, places) == []
    said, _, head, _, line = maps_table(config, "small", places.results)
    assert "mean over 2 folds" in said and head == "| row | agreement 2 s | areas 2 s |"
    assert line == "| none | 0.50 | +0.200 / -0.200 |"
    (places.maps / "none.small.f1.s1.json").write_text(json.dumps({"settings": "others", "durations": {}}))
    assert [run.name for run in wanted(config, places)] == ["none.small.f1.s1"]


@pytest.mark.parametrize("durations", [("1", "10", "2")])
def test_durations_are_in_the_order_of_seconds(tmp_path: Path, durations: tuple[str, ...]) -> None:
    one = summary(report())["2"]
    (tmp_path / "maps").mkdir()
    found = {"settings": "x", "durations": dict.fromkeys(durations, one)}
    (tmp_path / "maps" / "none.small.f1.s1.json").write_text(json.dumps(found))
    head = list(maps_table(StudyConfig(), "small", tmp_path))[2]
    assert head.startswith("| row | agreement 1 s | agreement 2 s | agreement 10 s |")
