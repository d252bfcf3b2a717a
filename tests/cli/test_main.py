"""The command itself: help, exit states, and the one line that errors end in."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from imlkd.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = {
    "torch", "torchaudio", "lhotse", "captum", "kaldiio", "h5py", "onnxruntime", "onnx", "matplotlib", "scipy",
    "sqlite3",
}  # fmt: skip


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*path, name))
    else:
        yield path, command


LEAVES = dict(leaves(main))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_explains_itself_and_its_defaults(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"], prog_name="imlkd")
    assert result.exit_code == 0 and f"Usage: imlkd {' '.join(path)}" in result.output
    text = " ".join(result.output.split())
    assert LEAVES[path].help and len(text) > 60
    for parameter in LEAVES[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[-1] in text
            assert parameter.help, parameter.opts
            if isinstance(parameter.default, int | float) and not parameter.is_flag:
                assert f"[default: {parameter.default}" in text, parameter.opts


def test_the_overview_lists_every_verb(imlkd: Run) -> None:
    done = imlkd("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"  {name} " in done.stdout and text in done.stdout for name, (_, _, text) in COMMANDS.items())
    assert imlkd("--version").stdout.startswith("imlkd, version ")
    for module, attribute, _ in COMMANDS.values():
        assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)


def test_commands_load_nothing_heavy_before_they_work() -> None:
    packages = ("cli", "scoring", "corpora")
    names = [
        f"imlkd.{path.parent.name}.{path.stem}" for p in packages for path in (ROOT / "imlkd" / p).glob("[a-z]*.py")
    ]
    names += ["imlkd.files", "imlkd.config", "imlkd.kaldi_io", "imlkd.done", "imlkd.progress", "imlkd.recipe"]
    line = "import sys, importlib; [importlib.import_module(n) for n in sys.argv[1:]]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", line, *names], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(names) > 25 and not HEAVY & set(done.stdout.split())


def test_help_of_no_verb_loads_anything_heavy() -> None:
    """What `--help` of every verb takes is the start of Python, click and the verb's own module."""
    line = (
        "import sys, json; from click.testing import CliRunner; from imlkd.cli.main import main\n"
        "for path in json.load(sys.stdin):\n"
        "    assert CliRunner().invoke(main, [*path, '--help'], prog_name='imlkd').exit_code == 0\n"
        "    print(*path, *sorted(set(sys.modules) & set(sys.argv[1:])), sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", line, *HEAVY, "numpy"], input=json.dumps(list(LEAVES)), capture_output=True, text=True,
        check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["|".join(path) for path in LEAVES] and len(LEAVES) > 25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scroe"], "No such command 'scroe'"),
        (["score", "--trails", "x"], "--trails"),
        (["model", "embed", "a", "b", "c", "--job", "0"], "--job"),
        (["watch", "label"], "Missing argument"),
    ],
)
def test_wrong_usage_is_2(imlkd: Run, arguments: list[str], words: str) -> None:
    done = imlkd(*arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_bad_input_is_1_and_one_line(imlkd: Run, tmp_path: Path) -> None:
    done = imlkd("recipe", "sets", tmp_path / "gone.yaml")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"imlkd: error: {tmp_path}/gone.yaml: not there: run stage 0 first (./run.sh --stage 0)\n"


def test_a_full_disk_behind_standard_output_is_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "imlkd.cli.main", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith(
        "imlkd: error: standard output: no space left on the device: free some"
    )
    assert "Traceback" not in done.stderr


def test_a_reader_that_left_is_no_error_message() -> None:
    command = f"{sys.executable} -m imlkd.cli.main --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_130_and_one_line(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "imlkd.cli.main", "watch", "x", str(tmp_path / "log"), "job", "sleep", "60"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(100):
        if (tmp_path / "log").exists():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, number)  # as a terminal does: the child ends of itself
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip() == "imlkd: interrupted: run the same command again to go on"


@pytest.mark.parametrize(
    "arguments", [["model", "embed", "a", "b", "c"], ["data", "to-lhotse", "a", "b"], ["model", "check", "."]]
)
def test_a_package_that_lacks_is_named(arguments: list[str]) -> None:
    hide = f"import sys; sys.modules.update(dict.fromkeys({sorted(HEAVY)!r})); from imlkd.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", hide, *arguments], capture_output=True, text=True, cwd=ROOT, check=False,
        env=os.environ | {"LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("imlkd: error: ")
