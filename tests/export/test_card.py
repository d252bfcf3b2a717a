"""README.md of an export: what the run knows, and no more."""

import json


def test_the_card_says_what_the_run_knows(student) -> None:
    text = (student.out / "README.md").read_text()
    metrics = json.loads((student.folder / "metrics/toy/trials.json").read_text())
    assert text.startswith("# student\n") and "| licence | CC0-1.0 |" in text
    assert f"| toy/trials | {100 * metrics['eer']['value']:.2f} % [" in text and "(few)" in text
    assert f"| equal error rate | {metrics['eer']['threshold']:.4f} |" in text
    assert "| multiply-accumulates for 2 s, front-end excluded |" in text
    for name in json.loads((student.out / "export.json").read_text())["files"]:
        assert (student.out / name).is_file() and f"- `{name}`: " in text
    assert "sherpa-onnx's fits" in text and "Calibration: none" in text
    assert "Few speakers in toy/trials" in text and "No licence was stated" not in text


def test_card_and_terminal_show_the_same_table(student) -> None:
    text = (student.out / "README.md").read_text()
    rows = [line.split() for line in student.table.splitlines() if line.startswith(("fp32", "fp16", "int8"))]
    assert [row[0] for row in rows] == ["fp32", "fp16", "int8"]
    for row in rows:
        line = next(line for line in text.splitlines() if line.startswith(f"| {row[0]} |"))
        assert [cell for cell in line.replace("|", " ").split()] == row


def test_the_use_that_it_shows_works(student, tmp_path, monkeypatch) -> None:
    import numpy as np
    import soundfile

    text = (student.out / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "model.onnx").write_bytes((student.out / "model.onnx").read_bytes())
    soundfile.write(tmp_path / "audio.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    monkeypatch.chdir(tmp_path)
    found: dict[str, np.ndarray] = {}
    exec(code, found)
    assert found["embedding"].shape == (16,) and abs(np.linalg.norm(found["embedding"]) - 1) < 1e-5
