"""All that is looked at, in the order it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from imlkd.doctor.findings import Finding
from imlkd.doctor.lanes import k2_finding, program_finding, teacher_findings
from imlkd.doctor.machine import machine_findings
from imlkd.doctor.packages import modules, package_findings, python_finding, run_probe
from imlkd.doctor.probe import SIZE


def examine(folder: Path, rate: bool = True) -> Iterator[Finding]:
    """Look at everything; takes as long as importing torch and a few products of matrices.

    :param folder: where results would go, for the free space.
    :param rate: measure how fast matrices are multiplied.
    """
    probed = run_probe(SIZE if rate else 0, modules())
    errors: dict[str, str] = dict(probed["errors"])
    errors |= run_probe(0, ["k2"])["errors"]  # alone: it is known to take the process with it
    yield python_finding()
    yield from package_findings(errors)
    yield program_finding()
    yield from machine_findings(folder, probed)
    yield from teacher_findings(errors)
    yield k2_finding(errors)
