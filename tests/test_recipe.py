"""Checks of run.sh's own options."""

import os
from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.recipe import check_folders, check_stages


@pytest.mark.parametrize(
    "arguments", [("minivox", "0", "7", "2"), ("kaldi", "3", "3", "1"), ("minivox", "00", "7", "64")]
)
def test_good_options(arguments: tuple[str, str, str, str]) -> None:
    check_stages(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("timit", "0", "7", "2"), "--corpus timit: known are minivox, kaldi"),
        (("kaldi", "8", "8", "2"), "--stage 8: stages go from 0 to 7"),
        (("kaldi", "0", "99", "2"), "--stop-stage 99: stages go from 0 to 7"),
        (("kaldi", "-1", "7", "2"), "--stage -1: stages go from 0 to 7"),
        (("kaldi", "x", "7", "2"), "--stage x: stages go from 0 to 7"),
        (("kaldi", "", "7", "2"), "--stage : stages go from 0 to 7"),
        (("kaldi", "0", "1.5", "2"), "--stop-stage 1.5: stages go from 0 to 7"),
        (("kaldi", "²", "7", "2"), "--stage ²: stages go from 0 to 7"),
        (("kaldi", "5", "4", "2"), "--stage 5 is behind --stop-stage 4: nothing would run"),
        (("kaldi", "0", "7", "0"), "--nj 0: give a whole number of parallel jobs, 1 or more"),
        (("kaldi", "0", "7", "many"), "--nj many: give a whole number"),
        (("kaldi", "0", "7", "-2"), "--nj -2: give a whole number"),
    ],
)
def test_bad_options(arguments: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_stages(*arguments)
    assert str(caught.value).startswith(message)


def test_folders_are_made_and_left_empty(tmp_path: Path) -> None:
    conf, out = tmp_path / "conf", tmp_path / "a/exp"
    conf.mkdir()
    check_folders(conf, [out, tmp_path / "data"])
    assert out.is_dir() and os.listdir(out) == []
    with pytest.raises(UserError, match="gone: no such folder of configurations: see --conf"):
        check_folders(tmp_path / "gone", [out])


def test_a_plain_file_for_a_result_folder(tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("precious")
    with pytest.raises(UserError, match=f"^{tmp_path / 'exp'}: .*plain file"):
        check_folders(tmp_path, [tmp_path / "exp"])
    assert (tmp_path / "exp").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_result_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir(mode=0o500)
    with pytest.raises(UserError, match="permission denied: choose another folder"):
        check_folders(tmp_path, [tmp_path / "exp"])
