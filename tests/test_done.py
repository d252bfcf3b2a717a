"""Done markers: what makes a stage stale, and what does not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imlkd import done
from imlkd.done import DoneMarker, Recipe, code_digest
from imlkd.errors import UserError
from imlkd.files import sha256_file

ROOT = Path(__file__).parents[1]
SOURCES = {
    "a": '"""A module."""\nimport os\nfrom pkg import c\nfrom pkg.b import value\n\n\ndef work():\n    """Work."""\n'
    "    from pkg.d import late\n    return late + value + c.value\n",
    "b": "import json\n\nvalue = 1  # one\n",
    "c": "value = 2\n",
    "d": "import pkg.e\n\nlate = 3\n",
    "e": "value = 5\n",
    "unused": "import pkg.a\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pkg"
    folder.mkdir()
    for name, source in SOURCES.items():
        (folder / f"{name}.py").write_text(source)
    (folder / "__init__.py").write_text("")
    monkeypatch.setattr(done, "__file__", str(folder / "done.py"))
    return folder


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a", '"""A module."""', '"""Quite another text."""'),
        ("a", '    """Work."""\n', ""),
        ("a", "import os\n", "import os  # the system\n\n\n"),
        ("b", "# one", "# two"),
        ("d", "late = 3", "late = (3)"),
        ("unused", "import pkg.a", "import pkg.b"),
    ],
)
def test_comments_docstrings_layout_and_strangers_change_nothing(package: Path, name: str, old: str, new: str) -> None:
    before = code_digest("pkg.a")
    source = (package / f"{name}.py").read_text()
    assert old in source
    (package / f"{name}.py").write_text(source.replace(old, new))
    assert code_digest("pkg.a") == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a", "late + value", "late - value"),
        ("b", "value = 1", "value = 2"),
        ("c", "value = 2", "value = 3"),
        ("d", "late = 3", "late = 4"),
        ("e", "value = 5", "value = 6"),
        ("a", "import os", "import sys"),
        ("b", "import json", "import json, pkg.unused"),
    ],
)
def test_code_of_the_module_and_of_what_it_imports_counts(package: Path, name: str, old: str, new: str) -> None:
    before = code_digest("pkg.a")
    source = (package / f"{name}.py").read_text()
    assert old in source
    (package / f"{name}.py").write_text(source.replace(old, new))
    assert code_digest("pkg.a") != before


def test_a_misspelt_module_is_an_error(package: Path) -> None:
    with pytest.raises(UserError, match=r"^pkg\.aa: no such module"):
        code_digest("pkg.aa")


@pytest.mark.parametrize("module", ["imlkd.attribution.stage", "imlkd.training.student", "imlkd.scoring.evaluate"])
def test_the_closure_holds_all_that_python_really_imports(module: str) -> None:
    lines = f"import sys, {module}\nprint(*(n for n in sys.modules if n.startswith('imlkd')))"
    loaded = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {name for name in loaded.stdout.split() if not (ROOT / Path(*name.split("."))).is_dir()}
    assert module in modules and modules <= done._closure(module, "imlkd").keys()


def test_every_module_that_a_stage_script_names_is_there() -> None:
    scripts = [*(ROOT / "local").glob("*.sh"), *(ROOT / "egs").glob("*/prepare.sh")]
    modules = {name for script in scripts for name in re.findall(r"--code ([\w.]+)", script.read_text())}
    assert len(modules) > 5
    assert len({code_digest(module) for module in modules}) == len(modules)


# What a stage is made from


def test_digests_of_files_folders_tables_and_values(tmp_path: Path) -> None:
    made, data = tmp_path / "made", tmp_path / "data"
    (made / "log").mkdir(parents=True)
    data.mkdir()
    for path in (made / "b", made / "a", made / ".hidden", made / "log/x", data / "wav.scp", data / "text"):
        path.write_text(path.name)
    recipe = Recipe([made, tmp_path / "data/text"], [data], {"nj": "2"}, ["imlkd.errors"])
    assert recipe.digests() == {
        f"{made}/a": sha256_file(made / "a"),
        f"{made}/b": sha256_file(made / "b"),
        f"{data}/text": sha256_file(data / "text"),
        f"{data}/wav.scp": sha256_file(data / "wav.scp"),
        "--nj": "2",
        "code of imlkd.errors": code_digest("imlkd.errors"),
    }


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(files=[Path("gone")]), "gone: not there: mend the path, or run the stage that makes it first"),
        (Recipe(files=[Path("empty")]), "empty: is empty: run the stage that fills it first"),
        (Recipe(data=[Path("empty")]), "empty: no data directory (it holds none of wav.scp, segments, utt2spk)"),
        (Recipe(data=[Path("gone")]), "gone: no data directory"),
    ],
)
def test_missing_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(UserError) as caught:
        recipe.digests()
    assert str(caught.value).startswith(message)


# The marker


def finished(folder: Path, made_from: dict[str, str]) -> DoneMarker:
    marker = DoneMarker(folder / ".done")
    marker.begin(made_from)
    (folder / "out").write_text("12345")
    marker.finish()
    return marker


def test_a_finished_stage_is_up_to_date(tmp_path: Path) -> None:
    marker = finished(tmp_path, {"x": "1", "--nj": "2"})
    assert marker.reason_to_run({"--nj": "2", "x": "1"}) is None
    content = json.loads((tmp_path / ".done").read_text())
    assert content["made_from"] == {"x": "1", "--nj": "2"} and content["outputs"] == {"out": 5}
    assert not marker.pending.exists()


@pytest.mark.parametrize(
    ("made_from", "reason"),
    [
        ({"/a/b/conf/x.yaml": "2", "--nj": "2"}, "conf/x.yaml changed"),
        ({"/a/b/conf/x.yaml": "1", "--nj": "3"}, "--nj changed"),
        ({"/a/b/conf/x.yaml": "1", "--nj": "2", "code of m": "7"}, "code of m is new"),
        ({"/a/b/conf/x.yaml": "1"}, "--nj is gone"),
    ],
)
def test_the_reason_names_what_changed(tmp_path: Path, made_from: dict[str, str], reason: str) -> None:
    assert finished(tmp_path, {"/a/b/conf/x.yaml": "1", "--nj": "2"}).reason_to_run(made_from) == reason


def test_outputs_that_are_gone_or_changed(tmp_path: Path) -> None:
    marker = finished(tmp_path, {"x": "1"})
    (tmp_path / "out").write_text("1234")
    assert marker.reason_to_run({"x": "1"}) == f"{tmp_path}/out changed"
    (tmp_path / "out").unlink()
    assert marker.reason_to_run({"x": "1"}) == f"{tmp_path}/out is missing"


def test_outputs_by_name_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "metrics").mkdir()
    marker = DoneMarker(tmp_path / "scores/.done.trials")
    marker.begin({"x": "1"})
    (tmp_path / "metrics/trials.json").write_text("{}")
    marker.finish([tmp_path / "metrics/trials.json"])
    assert marker.reason_to_run({"x": "1"}) is None
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    moved = DoneMarker(tmp_path.with_name("elsewhere") / "scores/.done.trials")
    assert moved.reason_to_run({"x": "1"}) is None
    (tmp_path.with_name("elsewhere") / "metrics/trials.json").unlink()
    assert str(moved.reason_to_run({"x": "1"})).endswith("metrics/trials.json is missing")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"made_from": {}}', '{"made_from": 3, "outputs": {}}'])
def test_a_damaged_marker_is_a_reason(tmp_path: Path, content: str) -> None:
    (tmp_path / ".done").write_text(content)
    assert DoneMarker(tmp_path / ".done").reason_to_run({}) == f"marker {tmp_path}/.done is damaged"


def test_a_stage_that_was_begun_is_not_done(tmp_path: Path) -> None:
    marker = finished(tmp_path, {"x": "1"})
    marker.begin({"x": "1"})
    assert not marker.path.exists()
    assert marker.reason_to_run({"x": "1"}) == "not done yet"


def test_the_marker_says_what_was_begun_not_what_is_there_at_the_end(tmp_path: Path) -> None:
    marker = DoneMarker(tmp_path / ".done")
    marker.begin({"x": "1"})
    (tmp_path / "out").write_text("")
    marker.finish()  # had x changed meanwhile, the next check would see it
    assert marker.reason_to_run({"x": "2"}) == "x changed"


def test_the_begun_digest_follows_the_inputs(tmp_path: Path) -> None:
    marker = DoneMarker(tmp_path / ".done")
    digests = []
    for made_from in ({"x": "1", "y": "1"}, {"y": "1", "x": "1"}, {"x": "2", "y": "1"}):
        marker.begin(made_from)
        digests.append(marker.begun_digest())
    assert digests[0] == digests[1] != digests[2]


def test_begun_anew_nothing_half_done_is_taken_up(tmp_path: Path) -> None:
    marker = DoneMarker(tmp_path / ".done")
    digests = []
    for anew in (False, True, True, False):
        marker.begin({"x": "1"}, anew=anew)
        digests.append(marker.begun_digest())
    assert len(set(digests)) == 3 and digests[0] == digests[3]
    marker.finish([])
    assert marker.reason_to_run({"x": "1"}) is None  # the marker itself is as ever


def test_no_stage_in_progress(tmp_path: Path) -> None:
    marker = DoneMarker(tmp_path / ".done")
    with pytest.raises(UserError, match=r"\.done\.pending: not there: start this through run\.sh"):
        marker.begun_digest()
    with pytest.raises(UserError, match=r"\.done\.pending: not there: the stage was not begun"):
        marker.finish()
    assert not marker.path.exists()


def test_a_stage_that_left_nothing_is_not_done(tmp_path: Path) -> None:
    marker = DoneMarker(tmp_path / ".done")
    marker.begin({"x": "1"})
    with pytest.raises(UserError, match=f"^{tmp_path}/out: the stage ended without it: run it again"):
        marker.finish([tmp_path / "out"])
    assert marker.reason_to_run({"x": "1"}) == "not done yet"


def test_a_marker_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("")
    with pytest.raises(UserError, match="plain file"):
        DoneMarker(tmp_path / "exp/.done").begin({"x": "1"})


@pytest.mark.parametrize("name", ["reco2sha256", "features.yaml"])
def test_audio_and_features_that_change_under_the_same_names(tmp_path: Path, name: str) -> None:
    """Tables of paths stay as they are when what they point to is made anew."""
    (tmp_path / "wav.scp").write_text("a a.wav\n")
    (tmp_path / "feats.scp").write_text("a a.ark:2\n")
    (tmp_path / name).write_text("1\n")
    before = Recipe(data=[tmp_path]).digests()
    (tmp_path / name).write_text("2\n")
    after = Recipe(data=[tmp_path]).digests()
    assert {key for key in before if before[key] != after[key]} == {f"{tmp_path}/{name}"}


def test_stages_that_read_audio_look_at_its_content() -> None:
    for script in ("features", "embed"):
        assert "--table reco2sha256" in (ROOT / f"local/{script}.sh").read_text()
