"""k2 in a Python of its own: a process that answers batches, for the recipe's Python where no k2 fits it.

`python -m imlkd.attribution.segmentation.k2_lane` is the other side. Both speak numpy's npz behind eight bytes that
tell its length.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from imlkd.attribution.segmentation.graph import Batch, FloatArray, Graph, Marks
from imlkd.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
LANE = ROOT / ".venv-k2" / "bin" / "python"  # made by local/setup_k2.sh


def lane_python() -> Path | None:
    """The Python of k2's environment, if that is complete."""
    return LANE if LANE.exists() and (LANE.parents[1] / ".complete").is_file() else None


class K2Lane:
    """The backend ``k2`` by a process that lives as long as this object."""

    name = "k2"

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), "-m", "imlkd.attribution.segmentation.k2_lane"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        weakref.finalize(self, _end, self._process)

    def best(self, batch: Batch) -> list[Marks]:
        """As the process has it."""
        return [part.astype(np.bool_) for part in self._ask("best", batch)]

    def posteriors(self, batch: Batch) -> list[FloatArray]:
        """As the process has it."""
        return self._ask("posteriors", batch)

    def _ask(self, what: str, batch: Batch) -> list[Any]:
        if not len(batch.segments):
            return []
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            _send(stdin, dict(_arrays_of(batch), what=np.array(what)))
            values = _receive(stdout)["values"]
        except (EOFError, BrokenPipeError) as error:
            raise UserError(
                f"the k2 process ended with status {self._process.wait()}, its last words are above:"
                " run local/setup_k2.sh, or take `backend: numpy`"
            ) from error
        return np.split(values, np.cumsum(batch.segments[:, 2])[:-1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """It holds nothing that would be lost, and takes seconds to leave by itself."""
    process.kill()
    process.communicate()


def _arrays_of(batch: Batch) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "log_odds": np.concatenate([*batch.log_odds, np.empty(0)]),
        "lengths": np.array([len(one) for one in batch.log_odds]),
        "segments": batch.segments,
        "graphs": np.array([(graph.on, graph.off, graph.penalty) for graph in batch.graphs], dtype=float),
    }


def _batch_from(arrays: dict[str, Any]) -> Batch:
    log_odds = np.split(arrays["log_odds"], np.cumsum(arrays["lengths"])[:-1])
    graphs = [Graph(int(on), int(off), float(penalty)) for on, off, penalty in arrays["graphs"]]
    return Batch(log_odds, arrays["segments"], graphs)


def _send(stream: BinaryIO | Any, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    stream.write(struct.pack("<Q", buffer.tell()) + buffer.getvalue())
    stream.flush()


def _receive(stream: BinaryIO | Any) -> dict[str, Any]:
    """EOFError when the other side is gone."""
    head = stream.read(8)
    size = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
    content = stream.read(size) if size > 0 else b""
    if len(content) != size:
        raise EOFError
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def main() -> None:
    """Answer batches until standard input ends."""
    import torch

    from imlkd.attribution.segmentation.k2_backend import K2Backend

    torch.set_num_threads(1)  # the jobs are the parallelism
    backend = K2Backend()
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what libraries print is no answer
    while True:
        try:
            arrays = _receive(sys.stdin.buffer)
        except EOFError:
            return
        values = getattr(backend, str(arrays["what"]))(_batch_from(arrays))
        _send(answers, {"values": np.concatenate(values)})


if __name__ == "__main__":
    main()
