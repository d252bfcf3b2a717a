"""Checkpoints written in the background: the state of the moment, one at a time, and nothing is lost or passed over."""

import copy
import dataclasses
import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

import imlkd.files
from imlkd.distillation.batch import DistillationBatch
from imlkd.errors import Preempted, UserError
from imlkd.training import checkpoint_writer
from imlkd.training.checkpoint import BestWeights, CheckpointStore
from imlkd.training.checkpoint_writer import CheckpointWriter
from imlkd.training.config import CheckpointsConfig
from imlkd.training.full_state import copied
from imlkd.training.sampling import Indices
from tests.training.loops import CONFIG, Interrupted, Make, Projected, log, same, trainer

pytestmark = pytest.mark.usefixtures("leave_torch_as_it_was")
EVERY_STEP = dataclasses.replace(CONFIG, crops=4, checkpoints=CheckpointsConfig(steps=1, last=3, best=2))
LONG = 60.0  # seconds after which a test would rather fail than wait


class Disk:
    """A disk that is ready when it is let: writes into ``checkpoints/`` wait in front of their fsync."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ready, self.asked, self.written = threading.Event(), threading.Event(), list[str]()
        sync = imlkd.files._sync

        def waits(path: Path) -> None:
            if path.parent.name == "checkpoints":
                self.asked.set()
                assert self.ready.wait(LONG)
                self.written.append(threading.current_thread().name)
            sync(path)

        monkeypatch.setattr(imlkd.files, "_sync", waits)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    found = Disk(monkeypatch)
    yield found
    found.ready.set()  # or a thread would be left behind


def state(steps: int, epoch: int = 0, step: int = 1) -> dict[str, object]:
    course = {"position": [epoch, step, steps], "best": [(1.0, epoch)], "said": ["x"]}
    return {"modules": {"model": {"w": torch.full((3,), float(steps))}}, "course": course}


def writer(folder: Path, last: int = 2, best: int = 1) -> CheckpointWriter:
    return CheckpointWriter(CheckpointStore(folder, last), BestWeights(folder, best, last))


def steps_of(folder: Path) -> list[int]:
    return [int(path.name[:9]) for path in CheckpointStore(folder, 9).paths()]


def test_what_is_written_is_the_state_of_the_moment(tmp_path: Path, disk: Disk) -> None:
    own, given = writer(tmp_path), state(5)
    kept = copy.deepcopy(given)
    own.save(given)
    given["modules"]["model"]["w"].zero_()  # type: ignore[index]
    given["course"]["said"].append("y")  # type: ignore[index]
    given["course"]["position"][2] = 9  # type: ignore[index]
    assert steps_of(tmp_path) == []
    disk.ready.set()
    own.wait()
    found = own.store.newest()
    assert found is not None and found[0]["course"] == kept["course"]
    assert torch.equal(found[0]["modules"]["model"]["w"], kept["modules"]["model"]["w"])  # type: ignore[index]
    assert disk.written == ["checkpoint_0"]


def test_a_copy_has_all_that_was_there_and_shares_nothing(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    given = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "plain": [1, (2.0, "x"), None]}
    found = copied(given)
    for name, value in given["network"].items():  # type: ignore[attr-defined]
        assert torch.equal(found["network"][name], value) and found["network"][name].data_ptr() != value.data_ptr()
    assert found["network"]._metadata == given["network"]._metadata  # type: ignore[attr-defined]
    moment = optimizer.state_dict()["state"][0]["exp_avg"]
    assert torch.equal(found["optimizer"]["state"][0]["exp_avg"], moment)
    assert found["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    assert found["plain"] == given["plain"] and found["plain"] is not given["plain"]
    paths = [CheckpointStore(tmp_path / name, 1).save(given, 1) for name, given in (("a", given), ("b", found))]
    assert paths[0].name == paths[1].name, "the same bytes"


def test_one_at_a_time_and_one_copy(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    own, copies, alive = writer(tmp_path), list[weakref.ref[torch.Tensor]](), list[int]()

    def counted(value: dict[str, object]) -> dict[str, object]:
        gc.collect()
        alive.append(sum(known() is not None for known in copies))
        made: dict[str, object] = copied(value)
        copies.append(weakref.ref(made["modules"]["model"]["w"]))  # type: ignore[index]
        return made

    monkeypatch.setattr(checkpoint_writer, "copied", counted)
    own.save(state(1))
    assert disk.asked.wait(LONG)
    second = threading.Thread(target=lambda: own.save(state(2)))
    second.start()
    second.join(0.1)
    assert second.is_alive() and alive == [0], "the second waits, and has copied nothing yet"
    disk.ready.set()
    second.join(LONG)
    own.save(state(3))
    own.wait()
    assert alive == [0, 0, 0] and steps_of(tmp_path) == [2, 3]


def test_an_error_of_the_thread_is_raised_in_the_training(
    tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    """By whatever is called next; the checkpoint before stays, and nothing half written."""
    own = writer(tmp_path)
    own.save(state(1))
    own.wait()
    before = own.store.paths()
    said = rf"{tmp_path}/checkpoints/000000002.pt: the file-size limit is reached"
    calls = [own.look, own.wait, lambda: own.save(state(3)), lambda: own.__exit__(None, None, None)]
    for call in calls:
        with file_size_limit(100):
            own.save(state(2))
            assert own._pending is not None and own._pending.exception(LONG) is not None
            with pytest.raises(UserError, match=said) as caught:
                call()
        assert "\n" not in str(caught.value)
        own.wait()  # said once
        assert own.store.paths() == before == list((tmp_path / "checkpoints").iterdir())
    with file_size_limit(100), pytest.raises(ZeroDivisionError), own:
        own.save(state(2))
        raise ZeroDivisionError  # the training's own error goes first


def test_looking_never_waits(tmp_path: Path, disk: Disk) -> None:
    own = writer(tmp_path)
    own.look()
    own.save(state(1))
    assert disk.asked.wait(LONG)
    own.look()
    assert steps_of(tmp_path) == []
    disk.ready.set()
    own.wait()
    own.look()
    assert steps_of(tmp_path) == [1]


def test_an_error_inside_ends_with_what_was_begun_on_the_disk(tmp_path: Path, disk: Disk) -> None:
    own = writer(tmp_path)
    threading.Timer(0.2, disk.ready.set).start()
    with pytest.raises(KeyboardInterrupt), own:
        own.save(state(4))
        raise KeyboardInterrupt
    assert steps_of(tmp_path) == [4] and not list((tmp_path / "checkpoints").glob(".*"))


def test_best_weights_are_those_of_their_checkpoint(tmp_path: Path, disk: Disk) -> None:
    """The training may have ranked the next epoch by the time that they are written."""
    own = writer(tmp_path, last=1, best=1)
    own.best.rank(2.0, 1)
    given = state(10, epoch=1, step=0)
    given["course"]["best"] = own.best.kept  # type: ignore[index]
    own.save(given)
    assert disk.asked.wait(LONG)
    own.best.rank(1.0, 2)
    disk.ready.set()
    own.wait()
    assert [path.name for path in (tmp_path / "checkpoints").glob("epoch-*")] == ["epoch-000001.pt"]


@pytest.mark.parametrize("die_at", [None, 9])
def test_a_slow_disk_leaves_the_same_files(
    pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_at: int | None
) -> None:
    """A checkpoint a step: newest, best, weights and log are those of a training that waits for each of its writes."""
    made, method = pool(), Projected()
    start = {name: value.clone() for name, value in method.state_dict().items()}

    def run(folder: Path) -> None:
        method.load_state_dict(start)
        if die_at is not None:
            with pytest.raises(Interrupted):
                trainer(made, folder, EVERY_STEP, method, die_at=die_at).run()
            method.load_state_dict(start)
        training = trainer(made, folder, EVERY_STEP, method)
        training.run()
        torch.save(training.model.state_dict(), folder / "final")

    with monkeypatch.context() as patch:
        save = CheckpointWriter.save
        patch.setattr(CheckpointWriter, "save", lambda *given, **named: (save(*given, **named), given[0].wait()))
        run(tmp_path / "waits")
    sync = imlkd.files._sync
    monkeypatch.setattr(imlkd.files, "_sync", lambda path: (threading.Event().wait(0.01), sync(path)))
    run(tmp_path / "slow")
    folders = [tmp_path / "waits", tmp_path / "slow"]
    names = [{path.name.partition(".")[0] for path in (one / "checkpoints").iterdir()} for one in folders]
    assert names[0] == names[1] and steps_of(folders[1]) == [16, 17, 18]
    for path in CheckpointStore(folders[1], 9).paths():  # whoever takes one up finds the weights that it names
        course = torch.load(path, weights_only=True)["course"]
        assert {f"epoch-{epoch:06d}" for _, epoch in course["best"]} < names[1] and len(course["best"]) == 2
    weights = [torch.load(one / "final", weights_only=True) for one in folders]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert log(folders[0]) == log(folders[1])


def test_asked_to_leave_it_waits_for_the_disk(pool: Make, tmp_path: Path, disk: Disk) -> None:
    made = pool()
    config = dataclasses.replace(CONFIG, crops=4)
    whole = trainer(made, tmp_path / "whole", config)
    training = trainer(made, tmp_path / "torn", config)
    make, made_so_far = training.make_batch, []

    def asked(chosen: Indices) -> DistillationBatch:
        made_so_far.append(1)
        if len(made_so_far) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Timer(0.2, disk.ready.set).start()
        return make(chosen)

    training.make_batch = asked
    with pytest.raises(Preempted, match="SIGTERM: saved after step 2"):
        training.run()
    assert steps_of(tmp_path / "torn") == [2] and disk.written == ["checkpoint_0"]
    whole.run()
    resumed = trainer(made, tmp_path / "torn", config)
    resumed.run()
    assert same(resumed, whole) and log(tmp_path / "torn") == log(tmp_path / "whole")


def test_asked_to_leave_and_the_disk_is_full(
    pool: Make, tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    """Not a word of having saved."""
    training = trainer(pool(), tmp_path, dataclasses.replace(CONFIG, crops=4))
    make = training.make_batch

    def asked(chosen: Indices) -> DistillationBatch:
        os.kill(os.getpid(), signal.SIGUSR1)
        return make(chosen)

    training.make_batch = asked
    with file_size_limit(5000), pytest.raises(UserError, match="checkpoints/000000001.pt: the file-size limit"):
        training.run()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_full_disk_is_known_at_the_next_step(pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next checkpoint, which may be hours away."""
    training = trainer(pool(), tmp_path, dataclasses.replace(CONFIG, crops=4, epochs=50))
    look, steps = training.writer.look, list[int]()

    def no_room(path: Path) -> None:
        raise OSError(28, os.strerror(28), str(path))

    def looked() -> None:
        steps.append(training.course.position.steps)
        if training.writer._pending is not None:
            training.writer._pending.exception(LONG)
        look()

    monkeypatch.setattr(imlkd.files, "_sync", lambda path: no_room(path) if path.parent.name == "checkpoints" else None)
    monkeypatch.setattr(training.writer, "look", looked)
    with pytest.raises(UserError, match=r"checkpoints/\d{9}.pt: no space left on the device: free some"):
        training.run()
    first = len(training.pool.epoch_batches(CONFIG.batch * 200, 4, CONFIG.seed, 0))
    assert steps[-1] == first + 1
