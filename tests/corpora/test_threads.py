import time

import pytest

from imlkd.corpora.threads import threads


def test_nothing_runs_on_behind_an_error() -> None:
    ended: list[int] = []

    def work(number: int) -> int:
        if number == 1:
            raise RuntimeError("first")
        time.sleep(0.2)
        ended.append(number)
        return number

    with pytest.raises(RuntimeError, match="first"), threads(2) as pool:
        list(pool.imap_unordered(work, range(2)))
    assert ended == [0]  # under way when the error came, and over
    time.sleep(0.3)
    assert ended == [0]
