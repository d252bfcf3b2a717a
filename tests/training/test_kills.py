"""Three kills of a tiny training, one or more in the middle of a write; `tests/kill_training.sh` does more."""

import re
from pathlib import Path

from tests.kill_training import Setting, survive


def test_three_kills_leave_no_trace_in_the_weights(tmp_path: Path) -> None:
    verdict = survive(tmp_path, Setting(processes=1, workers=1, epochs=2), kills=3, seed=2, say=False)
    wanted = r"1 process, 1 loader workers: killed 3 times \([123] in a write\), final weights equal"
    assert re.fullmatch(wanted, verdict), verdict
