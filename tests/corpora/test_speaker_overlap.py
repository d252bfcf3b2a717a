"""imlkd/corpora/speaker_overlap.py: speakers of a test set that the teacher has seen."""

from pathlib import Path

import pytest

from imlkd.corpora.speaker_overlap import check_teacher, read_speakers
from imlkd.errors import UserError


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    (tmp_path / "spk2utt").write_text("s1 s1-a s1-b\ns2 s2-a\ns3 s3-a\n")
    return tmp_path / "spk2utt"


@pytest.mark.parametrize(
    ("name", "content"),
    [("speakers", "s2\nx\ns3\n"), ("spk2utt", "s2 s2-a\nx x-a x-b\ns3 u\n"), ("utt2spk", "a s2\nb s2\nc x\nd s3\n")],
)
def test_kinds_of_lists(name: str, content: str, test_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "teacher"
    folder.mkdir()
    (folder / name).write_text(content)
    assert read_speakers(folder / name) == ["s2", "x", "s3"]
    with pytest.raises(UserError, match=r"2 of 3 speakers are among the 3 that T was trained on \(first: s2, s3\)"):
        check_teacher(folder / name, [test_set], "T", print)


def test_unknown_is_said_and_strangers_pass(test_set: Path, tmp_path: Path) -> None:
    said: list[str] = []
    check_teacher(None, [test_set], "the teacher resemblyzer", said.append)
    assert said[0].startswith("teacher overlap not checked: whom the teacher resemblyzer was trained on")
    (tmp_path / "speakers").write_text("s4\n")
    check_teacher(tmp_path / "speakers", [test_set], "T", said.append)
    assert len(said) == 1
    (tmp_path / "speakers").write_text("")
    with pytest.raises(UserError, match="names no speaker"):
        check_teacher(tmp_path / "speakers", [test_set], "T", said.append)
