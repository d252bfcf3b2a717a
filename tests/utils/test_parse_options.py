"""parse_options.sh: every rule of Kaldi's, under the strict mode that our scripts run in."""

import subprocess
from pathlib import Path

import pytest

PARSE_OPTIONS = Path(__file__).resolve().parents[2] / "utils" / "parse_options.sh"
SHOWN = ("nj", "stop_stage", "force", "empty", "cmd", "runner")
SCRIPT = """set -euo pipefail
nj=4
stop_stage=7
force=false
empty=
cmd=
runner=run.pl
readonly fixed=1
help_message="usage: demo [--nj <n>]\\n  100% of it"
. '{file}'
for name in {shown}; do echo "$name=${{!name}}"; done
for argument in "$@"; do echo "rest:$argument"; done
"""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    script = tmp_path / "demo.sh"
    script.write_text(SCRIPT.format(file=PARSE_OPTIONS, shown=" ".join(SHOWN)))
    (tmp_path / "one.conf").write_text("nj=11\nrunner='slurm.pl --mem 4G'\n")
    (tmp_path / "two.conf").write_text("nj=12\n")
    (tmp_path / "odd.conf").write_text("nj=13\nstop_stgae=3\n")
    (tmp_path / "bool.conf").write_text("force=yes\n")
    (tmp_path / "dos.conf").write_bytes(b"nj=1\r\n")
    return script


def run(demo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(demo), *arguments]
    return subprocess.run(command, cwd=demo.parent, text=True, capture_output=True, timeout=30)


DEFAULTS = {"nj": "4", "stop_stage": "7", "force": "false", "empty": "", "cmd": "", "runner": "run.pl"}


@pytest.mark.parametrize(
    ("arguments", "changed", "rest"),
    [
        ([], {}, []),
        (["--nj", "8"], {"nj": "8"}, []),
        (["--stop-stage", "2"], {"stop_stage": "2"}, []),
        (["--stop_stage", "2"], {"stop_stage": "2"}, []),
        (["--nj", "8", "--nj", "9"], {"nj": "9"}, []),
        (["--empty", "a b  c"], {"empty": "a b  c"}, []),
        (["--runner", ""], {"runner": ""}, []),
        (["--runner", "--mem 4G"], {"runner": "--mem 4G"}, []),
        (["--empty", "$HOME `id` \"'"], {"empty": "$HOME `id` \"'"}, []),
        (["--cmd", "queue.pl"], {"cmd": "queue.pl"}, []),
        (["--force", "true"], {"force": "true"}, []),
        (["--nj", "8", "data", "--nj", "9"], {"nj": "8"}, ["data", "--nj", "9"]),
        (["--nj", "8", "", "--nj", "9"], {"nj": "8"}, ["", "--nj", "9"]),
        (["-x", "1"], {}, ["-x", "1"]),
        (["a b", "c"], {}, ["a b", "c"]),
        (["--config", "one.conf"], {"nj": "11", "runner": "slurm.pl --mem 4G"}, []),
        (["--nj", "8", "--config", "one.conf", "x"], {"nj": "8", "runner": "slurm.pl --mem 4G"}, ["x"]),
        (["--config", "one.conf", "--config", "two.conf"], {"nj": "12", "runner": "slurm.pl --mem 4G"}, []),
        (["--config", "two.conf", "--config", "one.conf"], {"nj": "11", "runner": "slurm.pl --mem 4G"}, []),
        (["x", "--config", "one.conf"], {}, ["x", "--config", "one.conf"]),
    ],
)
def test_accepted(demo: Path, arguments: list[str], changed: dict[str, str], rest: list[str]) -> None:
    result = run(demo, *arguments)
    assert result.returncode == 0, result.stderr
    expected = [f"{name}={value}" for name, value in {**DEFAULTS, **changed}.items()]
    assert result.stdout.splitlines() == expected + [f"rest:{word}" for word in rest]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nj=8"], "'--nj=8': an option is written with a space, --nj 8"),
        (["--stage", "1"], "invalid option --stage"),
        (["--"], "invalid option --"),
        (["--1", "x"], "invalid option --1"),
        (["--nj x", "x"], "invalid option --nj x"),
        (["--fixed", "2"], "invalid option --fixed"),
        (["---nj", "2"], "invalid option ---nj"),
        (["--nj"], "option --nj needs a value"),
        (["--force", "yes"], "option --force takes true or false, not 'yes'"),
        (["--force", ""], "option --force takes true or false, not ''"),
        (["--force", "1"], "option --force takes true or false"),
        (["--cmd", ""], "empty argument to --cmd"),
        (["--config"], "--config needs a file name"),
        (["--config", "none.conf"], "--config none.conf: no such file"),
        (["--config", "dos.conf"], "--config dos.conf:1: DOS line end"),
        (["--config", "bool.conf"], "bool.conf: force takes true or false, not 'yes'"),
    ],
)
def test_refused(demo: Path, arguments: list[str], message: str) -> None:
    result = run(demo, *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("demo.sh: ") and message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--nj", "3", "--help"]])
def test_help(demo: Path, arguments: list[str]) -> None:
    result = run(demo, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "usage: demo [--nj <n>]\n  100% of it\n"


def test_config_that_sets_something_else_is_reported(demo: Path) -> None:
    result = run(demo, "--config", "odd.conf")
    assert result.returncode == 0 and "nj=13" in result.stdout
    assert "odd.conf sets 'stop_stgae', which is no option" in result.stderr


def test_script_without_help(demo: Path) -> None:
    bare = demo.with_name("bare.sh")
    bare.write_text(f"set -euo pipefail\nnj=1\n. '{PARSE_OPTIONS}'\n")
    assert run(bare, "--help").returncode == 0
    assert run(bare, "--no-such", "1").returncode == 1


def test_leaves_nothing_behind(demo: Path) -> None:
    bare = demo.with_name("bare.sh")
    show = "compgen -A variable -A function _po_ || echo clean"
    bare.write_text(f"set -euo pipefail\nnj=1\n. '{PARSE_OPTIONS}'\n{show}\n")
    assert run(bare, "--config", "two.conf", "--nj", "3").stdout == "clean\n"


def test_inside_a_function(demo: Path) -> None:
    nested = demo.with_name("nested.sh")
    main = f"main() {{\n  local nj=1\n  . '{PARSE_OPTIONS}'\n  echo \"$nj $*\"\n}}"
    nested.write_text(f"set -euo pipefail\n{main}\nmain --nj 5 a b\necho ok\n")
    assert run(nested).stdout == "5 a b\nok\n"
