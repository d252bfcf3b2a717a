"""docs/corpus.md and docs/teacher.md: from recordings to checked sets, and a teacher of other size."""

import shutil
from pathlib import Path

import pytest
import soundfile

from tests.conftest import RATE, toy_voice
from tests.docs.conftest import Follow
from tests.docs.pages import run_by


@pytest.mark.slow
def test_the_corpus_page_works(checkout: Path, follow: Follow) -> None:
    speakers = [f"p{number:02d}" for number in range(8)]
    for place, speaker in enumerate(speakers):
        (checkout / "corpus" / speaker).mkdir(parents=True)
        for take in range(3):
            voice = toy_voice(place, 1.2 + 0.1 * take, 10 * place + take)
            soundfile.write(checkout / f"corpus/{speaker}/{take}.wav", voice, RATE)
    (checkout / "speakers.txt").write_text("".join(f"{speaker}\n" for speaker in speakers))
    said = follow(checkout, run_by(__file__, "docs/corpus.md"))
    assert "./run.sh --corpus kaldi --train data/local/folders_train" in said
    for prepared in ("work/data", "cuts/data"):
        assert len((checkout / prepared / "folders_train/feats.scp" if prepared == "work/data" else
                    checkout / prepared / "train/feats.scp").read_text().splitlines()) == 12  # fmt: skip
    assert len((checkout / "my_trials").read_text().splitlines()) > 8


@pytest.mark.slow
def test_the_teacher_page_works(checkout: Path, finished_recipe: Path, follow: Follow) -> None:
    shutil.copytree(finished_recipe / "data", checkout / "data", dirs_exist_ok=True)
    follow(checkout, run_by(__file__, "docs/teacher.md"))
    assert "width: 40" in (checkout / "exp/minivox_teacher/model.yaml").read_text()
