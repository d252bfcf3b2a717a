from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.study.plan import Row, read_study, rows_of, runs_of, students_of


def written(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def test_rows_and_students(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "rows: [none, none-2v = none views=2, 'perm = imlkd gate.kind=perm method.weight_batch=0', imlkd]\n"
        "students: ['tiny = network.width=32 network.blocks=2', small]\n",
    )
    config = read_study(path)
    assert rows_of(config, path) == [
        Row("none", "none", (), ()),
        Row("none-2v", "none", ("views=2",), ()),
        Row("perm", "imlkd", ("gate.kind=perm",), ("weight_batch=0",)),
        Row("imlkd", "imlkd", (), ()),
    ]
    assert [(one.label, one.settings) for one in students_of(config, path)] == [
        ("tiny", ("network.width=32", "network.blocks=2")), ("small", ()),
    ]  # fmt: skip


def test_runs_first_seeds_first_and_more_of_the_main_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "rows: [none, kd, imlkd]\nmain: [none]\nseeds: 1\nmain_seeds: 2\nfolds: 2\n")
    names = [run.name for run in runs_of(read_study(path), path)]
    assert names == [
        "none.small.f1.s1", "none.small.f2.s1",
        *(f"{row}.small.f{fold}.s1" for fold in (1, 2) for row in ("kd", "imlkd")),
        "none.small.f1.s2", "none.small.f2.s2",
    ]  # fmt: skip


def test_what_a_row_shares_with_others_counts_and_comments_do_not(tmp_path: Path) -> None:
    path = written(tmp_path, f"rows: [none, imlkd]\nconf: {tmp_path}\n")
    found = []
    for name, text in [
        ("student", "training: {epochs: 3}\n"), ("student", "# three\ntraining: {epochs: 3}\n"),
        ("imlkd", "weight_batch: 2.0\n"), ("student", "training: {epochs: 4}\n"),
    ]:  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(text)
        runs = {run.name: run.settings() for run in runs_of(read_study(path), path)}
        found.append((runs["none.small.f1.s1"], runs["imlkd.small.f1.s1"]))
    (first, commented, other_method, longer) = found
    assert first == commented
    assert first[0] == other_method[0] and first[1] != other_method[1]
    assert longer[0] != first[0] and longer[1] != other_method[1]
    (tmp_path / "student.yaml").write_text("training: {epochs: 4}\n")
    path.write_text(path.read_text() + "relevance_set: nodes=16\n")
    assert {run.name: run.settings() for run in runs_of(read_study(path), path)}["none.small.f1.s1"] != longer[0]
    (tmp_path / "student.yaml").write_text("training: [\n")
    with pytest.raises(UserError, match="student.yaml: is no YAML: "):
        runs_of(read_study(path), path)


def test_settings_tell_runs_of_one_name_apart(tmp_path: Path) -> None:
    found = []
    for weight in (1, 2):
        path = written(tmp_path, f"rows: [none, 'imlkd = imlkd method.weight_batch={weight}']\n")
        runs = {run.name: run.settings() for run in runs_of(read_study(path), path)}
        found.append((runs["none.small.f1.s1"], runs["imlkd.small.f1.s1"]))
    assert found[0][0] == found[1][0] and found[0][1] != found[1][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: [none, imkld]\n", "unknown method 'imkld': did you mean imlkd?"),
        ("rows: [none, none, imlkd]\n", "{}: rows: none is there twice: give each a label of its own"),
        ("rows: [none, kd]\n", "{}: reference: imlkd is no row: the rows are none, kd"),
        ("main: [kd, dkd]\n", "{}: main: dkd is no row: the rows are none, kd, imlkd"),
        ("rows: [none, imlkd soft]\n", "{}: rows: 'imlkd soft': 'soft' is no KEY=VALUE"),
        ("rows: [none, ' = kd', imlkd]\n", "{}: rows: '': a label has small letters, digits, and . _"),
        ("rows: [none, 'imlkd = imlkd method.weigth_batch=1']\n", "override 'weigth_batch=1': unknown key weigth"),
        ("fold: 3\n", "{}:1: unknown key fold: did you mean folds?"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_study(path)
    assert str(caught.value).startswith(message.format(path))
