"""What names audio: folders, lists, tables, data directories, standard input."""

import io
from pathlib import Path

import pytest
import soundfile

from imlkd.errors import UserError
from imlkd.runtime.audio import STRICT
from imlkd.runtime.inputs import recordings


def ids(*inputs: object, **options: object) -> list[str]:
    return [one.id for one in recordings(map(str, inputs), **options)]  # type: ignore[arg-type]


WAVS = ["alice-1.wav", "alice-2.wav", "bob-1.wav", "bob-2.wav", "carol-1.wav"]


def test_folders_files_and_lists(voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(voices) == WAVS  # and not the model beside them
    assert ids(voices / "bob-1.wav") == [f"{voices}/bob-1.wav"]
    (tmp_path / "list.txt").write_text("".join(f"{voices}/{name}\n" for name in WAVS[:2]))
    assert ids(tmp_path / "list.txt", voices / "bob-1.wav") == [f"{voices}/{n}" for n in WAVS[:3]]
    (tmp_path / "b.scp").write_text(f"zoe {voices}/bob-1.wav\nabe {voices}/bob-2.wav\n")
    assert ids(tmp_path / "b.scp") == ["zoe", "abe"]
    monkeypatch.chdir(voices)
    (tmp_path / "here.lst").write_text("alice-1.wav\n")
    assert recordings([str(tmp_path / "here.lst")])[0].read(16000, STRICT).shape == (32000,)


def test_paths_beside_the_list(voices: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.wav").write_bytes((voices / "alice-1.wav").read_bytes())
    (tmp_path / "l.txt").write_text("a/x.wav\n")
    assert recordings([str(tmp_path / "l.txt")])[0].read(16000, STRICT).shape == (32000,)


def test_a_data_directory_gives_its_segments(voices: Path, tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(f"r {voices}/alice-1.wav\n")
    assert ids(tmp_path) == ["r"]
    (tmp_path / "utt2spk").write_text("s-1 s\ns-2 s\n")
    (tmp_path / "segments").write_text("s-1 r 0.5 1.5\ns-2 r 1.5 2.0\n")
    first, second = recordings([str(tmp_path)])
    whole, _ = soundfile.read(voices / "alice-1.wav", dtype="float32")
    assert (first.id, second.id) == ("s-1", "s-2")
    assert (first.read(16000, STRICT) == whole[8000:24000]).all()
    assert (second.read(16000, STRICT) == whole[24000:]).all()


def test_standard_input_is_audio_paths_or_a_table(voices: Path) -> None:
    content = (voices / "bob-1.wav").read_bytes()
    (one,) = recordings(["-"], stdin=io.BytesIO(content))
    assert one.id == "-" and one.read(16000, STRICT).shape == (32000,)
    lines = f"{voices}/bob-1.wav\n{voices}/bob-2.wav\n".encode()
    assert ids("-", stdin=io.BytesIO(lines)) == [f"{voices}/bob-1.wav", f"{voices}/bob-2.wav"]
    assert ids("scp:-", stdin=io.BytesIO(f"u1 {voices}/bob-1.wav\n".encode())) == ["u1"]


def test_pipes_run_only_when_allowed(voices: Path, tmp_path: Path) -> None:
    (tmp_path / "p.scp").write_text(f"u cat {voices}/bob-1.wav |\n")
    with pytest.raises(UserError, match="a pipe, which runs a command"):
        ids(tmp_path / "p.scp")
    (one,) = recordings([str(tmp_path / "p.scp")], allow_pipes=True)
    assert one.read(16000, STRICT).shape == (32000,)


def test_what_names_nothing(voices: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "twice.txt").write_text(f"{voices}/bob-1.wav\n{voices}/bob-1.wav\n")
    (tmp_path / "gap.txt").write_text("a.wav\n\nb.wav\n")
    (tmp_path / "none.txt").write_text("")
    (tmp_path / "one.scp").write_text("u\n")
    for name, words in {
        "empty": "no audio in it or below", "twice.txt": "comes twice", "gap.txt": ":2: empty line",
        "none.txt": "names no audio", "one.scp": "expected an id and a value", "gone.scp": "no such file",
        "gone.txt": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(UserError) as caught:
            ids(tmp_path / name)
        assert words in str(caught.value) and str(tmp_path / name) in str(caught.value)
    for content, name, words in [
        (b"\xff\xfe\x00", "-", "neither audio of a known kind nor a list"), (b"", "-", "names no audio"),
        (b"u1\n", "scp:-", "an id and a path"), (b"u a\nu b\n", "scp:-", "each id once"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=words):
            ids(name, stdin=io.BytesIO(content))
    with pytest.raises(UserError, match="named twice"):
        ids(voices / "bob-1.wav", voices / "bob-1.wav")
