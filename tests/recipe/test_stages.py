"""What `--stage`, `--stop-stage`, `--force` and the done markers promise."""

from __future__ import annotations

import fcntl
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.recipe.workspaces import ROOT, Workspace, contents

CONF = "egs/minivox/conf_tiny"
NONE = ("--methods", "none")


def only(stage: int) -> tuple[str, ...]:
    return ("--stage", str(stage), "--stop-stage", str(stage))


def reasons(ran: list[str]) -> dict[str, str]:
    """'stage 4 (kd)' -> why it ran, for those that did."""
    pairs = [line.split(": ", 1) for line in ran]
    return {name: reason for name, reason in pairs if reason != "up to date"}


def results(workspace: Workspace) -> dict[str, str]:
    return contents(workspace.root / "data", workspace.root / "exp")


def test_help_lists_every_option(code: Workspace) -> None:
    result = code.call("./run.sh", "--help")
    assert (result.status, result.err) == (0, "")
    settings = (ROOT / "run.sh").read_text().split("help_message=")[0]
    options = dict(re.findall(r"^([a-z]\w*)=(.*)$", settings, re.MULTILINE))
    assert len(options) > 15
    for name, default in options.items():
        assert f"--{name.replace('_', '-')} " in result.out
        assert not default or re.search(rf"default: .*{re.escape(default)}", result.out), f"{name}: {default}"


def test_again_there_is_nothing_to_do(workspace: Workspace) -> None:
    before, start = results(workspace), time.monotonic()
    result = workspace.run()
    assert time.monotonic() - start < 20
    assert (result.status, reasons(result.ran())) == (0, {})
    assert {line[:7] for line in result.ran()} == {f"stage {n}" for n in range(8)}
    assert "minivox_imlkd" in result.out.split("stage 7: up to date")[1], "the table is printed again"
    assert results(workspace) == before


def test_first_and_last_stage(workspace: Workspace) -> None:
    result = workspace.run("--stage", "1", "--stop-stage", "2")
    assert result.status == 0
    assert re.findall(r"^\d\d:\d\d:\d\d stage (\d):", result.out, re.MULTILINE) == ["1", "2"]


def test_fine_tuning_is_a_second_training_of_stage_4(workspace: Workspace) -> None:
    """With a folder and a marker of its own; the student that it begins with stays as it is."""
    student = workspace.root / "exp/minivox_none"
    before = contents(student)
    options = (*only(4), *NONE, "--lm-epochs", "1")
    result = workspace.run(*options)
    assert result.status == 0 and list(reasons(result.ran())) == ["stage 4 (none_lm)"], result.out + result.err
    tuned = workspace.root / "exp/minivox_none_lm"
    assert (tuned / ".done").is_file() and contents(student) == before
    assert (tuned / "final.pt").read_bytes() != (student / "final.pt").read_bytes()
    assert len((tuned / "log/train.jsonl").read_text().splitlines()) == 1
    assert "margin: 0.5" in (tuned / "config.yaml").read_text()
    assert reasons(workspace.run(*options).ran()) == {}


def test_prose_reruns_nothing_and_code_what_imports_it(workspace: Workspace) -> None:
    for name in ("imlkd/features/extract.py", "imlkd/training/trainer.py", "imlkd/reporting/stage.py"):
        with open(workspace.root / name, "a", encoding="utf-8") as stream:
            stream.write("\n# A thought that came later.\n")
    workspace.edit("imlkd/models/tdnn.py", '"""Dilated convolution', '"""A dilated convolution')
    workspace.edit("local/distil.sh", "# Stage 4:", "# The stage 4:")
    assert reasons(workspace.run().ran()) == {}
    workspace.edit("imlkd/scoring/cosine.py", "\ndef ", "\nUNHEARD_OF = 1\n\n\ndef ")
    before = results(workspace)
    result = workspace.run()
    assert result.status == 0
    models = [f"minivox_{name}" for name in ("teacher", "none", "kd", "imlkd")]
    assert reasons(result.ran()) == {
        f"stage 6 ({model}, minivox_test/trials)": "code of imlkd.scoring.cosine changed" for model in models
    }
    after = results(workspace)
    assert {Path(name).name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} <= {
        ".done.trials"
    }


@pytest.mark.slow
def test_a_method_s_settings_rerun_that_method(workspace: Workspace) -> None:
    workspace.edit(f"{CONF}/kd.yaml", "temperature: 3.0", "temperature: 2.0")
    ran = reasons(workspace.run().ran())
    assert list(ran) == [
        "stage 4 (kd)",
        "stage 5 (minivox_kd, minivox_test)",
        "stage 6 (minivox_kd, minivox_test/trials)",
        "stage 7",
        "stage 7 (page)",
    ]
    assert ran["stage 4 (kd)"] == "conf_tiny/kd.yaml changed"
    assert ran["stage 5 (minivox_kd, minivox_test)"] == "minivox_kd/final.pt changed"
    assert reasons(workspace.run().ran()) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new", "first", "stages"),
    [
        ("corpus.yaml", "snr_max: 20", "snr_max: 19", "stage 0 (minivox)", {0, 1, 2, 3, 4, 5, 6, 7}),
        ("features.yaml", "low_freq: 20.0", "low_freq: 30.0", "stage 1 (minivox_teacher_train)", {1, 2, 3, 4, 5, 6, 7}),
        ("teacher.yaml", "learning_rate: 0.003", "learning_rate: 0.002", "stage 2 (own)", {2, 3, 4, 5, 6, 7}),
        ("relevance.yaml", "rho: 0.5", "rho: 0.4", "stage 3 (minivox_train)", {3, 4, 5, 6, 7}),
        ("student.yaml", "learning_rate: 0.003", "learning_rate: 0.002", "stage 4 (none)", {4, 5, 6, 7}),
        ("head.yaml", "epochs: 60", "epochs: 61", "", set()),
    ],
)
def test_settings_rerun_what_depends_on_them(
    name: str, old: str, new: str, first: str, stages: set[int], workspace: Workspace
) -> None:
    workspace.edit(f"{CONF}/{name}", old, new)
    result = workspace.run()
    assert result.status == 0, result.err
    ran = reasons(result.ran())
    assert {int(stage.split()[1]) for stage in ran} == stages
    assert not first or next(iter(ran.items())) == (first, f"conf_tiny/{name} changed")
    assert reasons(workspace.run().ran()) == {}


@pytest.mark.slow
def test_overrides_count_too(workspace: Workspace) -> None:
    options = ("--relevance-set", "nodes=6 batch=8", *only(3))
    ran = reasons(workspace.run(*options).ran())
    assert ran == {"stage 3 (minivox_train)": "--relevance-set changed"}
    assert "nodes: 6" in (workspace.root / "exp/minivox_teacher/targets_minivox_train/config.yaml").read_text()


def test_a_deleted_output_is_made_again(workspace: Workspace) -> None:
    before = results(workspace)
    (workspace.root / "exp/minivox_none/final.pt").unlink()
    (workspace.root / "exp/minivox_none/metrics/minivox_test/trials.json").unlink()
    result = workspace.run(*NONE, "--stage", "4", "--stop-stage", "6")
    assert reasons(result.ran()) == {
        "stage 4 (none)": "exp/minivox_none/final.pt is missing",
        "stage 6 (minivox_none, minivox_test/trials)": "exp/minivox_none/scores/minivox_test/../../metrics/"
        "minivox_test/trials.json is missing",
    }
    after = results(workspace)
    changed = {Path(name).name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= {".done", ".done.trials"}, "made again, it is the same"


def test_force_redoes(workspace: Workspace) -> None:
    before = results(workspace)
    result = workspace.run(*only(6), *NONE, "--force", "true")
    assert result.status == 0
    assert set(reasons(result.ran()).values()) == {"--force true"} and len(result.ran()) == 2
    changed = {Path(name).name for name, digest in results(workspace).items() if before[name] != digest}
    assert changed <= {".done.trials"}, "only the seconds in the marker may differ"


@pytest.mark.slow
def test_fewer_jobs_leave_nothing_of_more(workspace: Workspace) -> None:
    for stage in (1, 5):
        result = workspace.run(*only(stage), *NONE, "--nj", "1", "--force", "true")
        assert result.status == 0, result.err
    data = workspace.root / "data/minivox_train"
    names = [line.split()[0] for line in (data / "utt2num_frames").read_text().splitlines()]
    assert names == [line.split()[0] for line in (data / "utt2spk").read_text().splitlines()]
    folder = workspace.root / "exp/minivox_none/xvectors_minivox_test"
    assert sorted(path.name for path in folder.glob("xvector.*")) == ["xvector.1.ark", "xvector.1.scp", "xvector.scp"]


def test_two_runs_at_once(workspace: Workspace) -> None:
    with open(workspace.root / "exp/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = workspace.run()
    assert result.status == 1 and result.ran() == []
    assert result.lines[-1] == "./run.sh: another run is at work in exp: wait for it, or choose another --exp"


def test_runs_that_share_their_data_wait_for_each_other(workspace: Workspace) -> None:
    with open(workspace.root / "data/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = workspace.start("./run.sh", "--conf", CONF, "--exp", "exp2", *only(0))
        assert process.stdout is not None
        assert process.stdout.readline().endswith("another run prepares data: waiting for it\n")
        time.sleep(0.5)
        assert process.poll() is None
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "stage 0 (minivox): up to date" in out, err


def test_from_another_folder(code: Workspace, tmp_path: Path) -> None:
    result = Workspace(tmp_path).call(code.root / "run.sh")
    assert result.status == 1 and "run this from the folder it lies in" in result.lines[-1]


def test_an_edit_of_run_sh_does_not_reach_a_run(workspace: Workspace) -> None:
    process = workspace.start("./run.sh", "--conf", CONF, "--nj", "2", "--bootstrap", "20")
    assert process.stdout is not None
    process.stdout.readline()
    shutil.copy(workspace.root / "run.sh", workspace.root / "kept")
    (workspace.root / "run.sh").write_text("echo stolen\n" * 2000)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "stolen" not in out + err
