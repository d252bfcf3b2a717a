"""What goes wrong in a step: said with the ids of its batch, left out a few times, then the end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from imlkd.distillation.batch import DistillationBatch
from imlkd.errors import UserError
from imlkd.files import make_dir, os_errors
from imlkd.training.position import Work
from imlkd.training.sampling import SegmentPool


class Trouble:
    """Counts the steps that are left out; ``log/trouble.jsonl`` gets a line for each, its batch and terms.

    :param allowed: steps that may be left out in all.
    :param skipped: that have been.
    """

    def __init__(self, folder: Path, pool: SegmentPool, allowed: int) -> None:
        self.path, self.pool, self.allowed, self.skipped = folder / "log" / "trouble.jsonl", pool, allowed, 0

    def skip(self, work: Work, terms: Mapping[str, float], norm: float) -> None:
        """Note a step without a finite loss and gradient; UserError when it is one too many."""
        names = [self.pool.segments[i].id for i in work.chosen]
        bad = [name for name, value in terms.items() if name != "loss" and not math.isfinite(value)]
        what = f"loss is not finite ({', '.join(bad)})" if bad else f"gradient is not finite (norm {norm:g})"
        here = work.position
        entry = {
            "epoch": here.epoch + 1, "step": here.step + 1, "terms": {k: f"{v:g}" for k, v in terms.items()},
            "gradient_norm": f"{norm:g}", "segments": names,
        }  # fmt: skip
        make_dir(self.path.parent)
        with os_errors(self.path), open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        self.skipped += 1
        first = " ".join(names[:5])
        if self.skipped > self.allowed:
            raise UserError(
                f"{what} on a batch with {first}, all of it in {self.path}: lower training.learning_rate, or mend what"
                " these have in common"
            )
        count = f"{self.skipped} of {self.allowed}"
        print(f"warning: {what} on a batch with {first}: step left out ({count}), see {self.path}", flush=True)

    def out_of_memory(self, work: Work, batch: DistillationBatch) -> UserError:
        """What to say of a batch that the device has no room for."""
        rows, frames = batch.features.shape[:2]
        return UserError(
            f"out of memory on a batch of {rows} segments of {frames} frames (first:"
            f" {self.pool.segments[work.chosen[0]].id}): lower training.batch"
        )
