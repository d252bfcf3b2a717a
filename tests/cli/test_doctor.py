"""`imlkd doctor`: what it finds, on machines that are made up, and on this one."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imlkd.doctor import lanes, machine, packages
from imlkd.doctor.probe import gflops, imported
from imlkd.errors import UserError

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
CPU = 2 * "processor : 0\nmodel name : X 9000\nflags : fpu avx2 {flags}\n\n"


def test_this_machine_by_a_command_that_has_no_torch() -> None:
    """Packages are looked at in a process of its own, which sees the torch that is hidden from the command."""
    hide = "import sys; sys.modules.update(dict.fromkeys(['torch', 'lhotse'])); from imlkd.cli.main import run; run()"
    command = [sys.executable, "-c", hide, "doctor", "--json", "--no-rate"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    found = {one["topic"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == (1 if any(one["state"] == "fails" for one in found.values()) else 0)
    assert found["base"]["state"] == "fits" and found["base"]["versions"]["click"]
    assert found["train"]["state"] == "fits" and found["teachers"]["state"] == "fits"
    assert found["disk"]["free_gib"] > 0 and found["processor"]["cores"] >= 1
    assert found["matrices"]["state"] == "lacks"
    assert all(set(one) >= {"topic", "state", "says", "remedy"} for one in found.values())


def test_the_packages_are_those_of_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **keywords: told.update(keywords))
    runpy.run_path(str(ROOT / "setup.py"))
    asked = {name: lines for name, lines in told["extras_require"].items() if name != "dev"}
    asked["base"] = told["install_requires"]
    assert {name: {re.split("[<>=]", line)[0] for line in lines} for name, lines in asked.items()} == {
        name: set(group) for name, group in packages.GROUPS.items()
    }


def test_a_folder_that_is_not_there(imlkd: Run, tmp_path: Path) -> None:
    done = imlkd("doctor", "--folder", tmp_path / "gone")
    assert (
        done.returncode == 1
        and done.stderr == f"imlkd: error: {tmp_path}/gone: no such folder: give one that is there\n"
    )


def test_processors() -> None:
    plain = machine.processor_finding(CPU.format(flags=""))
    assert "X 9000" in plain.says and plain.says.endswith("avx2; no bf16 instructions: bf16 is emulated")
    amx = machine.processor_finding(CPU.format(flags="avx512f avx512_bf16 amx_bf16 amx_int8"))
    assert amx.values["instructions"] == ["amx_bf16", "amx_int8", "avx512_bf16", "avx512f", "avx2"]
    assert "emulated" not in amx.says
    assert "no AVX2" in machine.processor_finding("").says


def test_memory_is_the_smaller_of_machine_and_group() -> None:
    meminfo = "MemTotal: 9 kB\nMemAvailable: 8388608 kB\n"
    assert machine.memory_finding(meminfo, "max").values["available_gib"] == 8.0
    assert machine.memory_finding(meminfo, str(3 << 30)).values["available_gib"] == 3.0
    assert machine.memory_finding(meminfo, str(1 << 30)).state == "fails"
    assert machine.memory_finding("", "").state == "differs"


def test_gpus() -> None:
    assert machine.gpu_finding({}, []).state == "lacks"
    assert machine.gpu_finding({}, ["/dev/nvidia0"]).remedy == "install torch of [train]"
    assert "nvidia-smi" in machine.gpu_finding({"torch": {"gpus": [], "cuda": "13"}}, ["/dev/nvidia0"]).remedy
    assert machine.gpu_finding({"torch": {"gpus": ["H100"], "cuda": "13"}}, []).says == "H100 (CUDA 13)"


def test_rates_are_operations_over_time() -> None:
    assert gflops(lambda: sum(range(10000)), 1000) > 0
    found = machine.rate_finding({"numpy_gflops": 100.0, "torch": {"gflops": {"fp32": 120.0, "bf16": 40.0}}})
    assert found.values == {"numpy_fp32_gflops": 100.0, "torch_fp32_gflops": 120.0, "torch_bf16_gflops": 40.0}
    assert machine.rate_finding({}).state == "lacks"


def test_a_package_that_is_found_but_does_not_load_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_pair.py").write_text("raise RuntimeError('compiled with different CUDA versions')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert imported(["json", "broken_pair", "not_there"]) == {
        "json": "", "broken_pair": "compiled with different CUDA versions", "not_there": "No module named 'not_there'",
    }  # fmt: skip
    errors = {"torch": "", "torchaudio": "compiled with different CUDA versions"}
    found = packages.group_finding("train", {"torch": "2.15.0", "torchaudio": "2.11.0"}, errors)
    assert found.state == "fails" and "torchaudio 2.11.0 does not load (compiled with" in found.says
    assert found.remedy == "install the pair torch==2.11.0 torchaudio==2.11.0 together"
    lacking = packages.group_finding("train", {"torch": None, "torchaudio": "2.11.0"}, {"torchaudio": ""})
    assert lacking.state == "lacks" and "torch (for the recipe)" in lacking.says


def test_an_import_that_takes_the_process_with_it_is_a_finding(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexit 139\n")
    script.chmod(0o755)
    assert packages.run_probe(0, ["k2"], str(script))["errors"] == {"k2": "importing ends the process with 139"}
    assert "does not start" in packages.run_probe(0, ["k2"], str(tmp_path / "gone"))["errors"]["k2"]


def test_packages_that_are_not_the_pinned_ones_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "2.9.0", "torch": "2.11.0+cpu"}
    monkeypatch.setattr(packages, "installed_version", versions.get)
    found = [one for one in packages.package_findings({}) if one.state == "differs"]
    pin = packages.read_pins(ROOT / "requirements.txt")["numpy"]
    assert [(one.topic, one.says, one.remedy) for one in found] == [
        ("numpy", "2.9.0", f"tested with {pin} (requirements.txt)")
    ]


def test_the_groups_are_those_of_setup_py() -> None:
    setup = (ROOT / "setup.py").read_text()
    for group, names in packages.GROUPS.items():
        assert group in packages.FOR and (group == "base" or f'"{group}": [' in setup)
        for name in names:
            assert f'"{name}>=' in setup or f'"{name}==' in setup, name


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_fails(version: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert packages.python_finding().state == "fails"


def test_teachers_and_k2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lanes, "LANE", tmp_path / "no/python")
    assert lanes.k2_finding({"k2": ""}).state == "fits"
    assert lanes.k2_finding({"k2": "No module named 'k2'"}).state == "lacks"
    built = lanes.k2_finding({"k2": "k2 was built using PyTorch 1.13.1"})
    assert built.state == "fails" and "another torch" in built.remedy
    monkeypatch.setattr(lanes, "LANE", Path(sys.executable))
    monkeypatch.setattr(lanes, "run_probe", lambda *_: {"errors": {"k2": ""}})
    assert lanes.k2_finding({"k2": "No module named 'k2'"}).says == f"loads in {sys.executable}"
    assert [one.state for one in lanes.teacher_findings({"torch": "No module named 'torch'"})][0] == "lacks"

    def gone() -> Path:
        raise UserError("teacher resemblyzer: not installed")

    def damaged() -> Path:
        raise UserError("x.pt: damaged: run it again")

    monkeypatch.setattr("imlkd.models.resemblyzer.find_weights", gone)
    assert lanes.resemblyzer_finding(True).state == "lacks"
    monkeypatch.setattr("imlkd.models.resemblyzer.find_weights", lambda: tmp_path)
    monkeypatch.setattr("imlkd.models.resemblyzer.verified_weights", damaged)
    assert lanes.resemblyzer_finding(True).state == "fails"


def test_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "flock" else name)
    found = lanes.program_finding()
    assert found.state == "lacks" and found.remedy == "apt-get install util-linux"
