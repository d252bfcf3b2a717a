"""docs/your-method.md, followed to the letter in a copy of the repository."""

import shutil
from pathlib import Path

import pytest

from tests.docs.conftest import Follow
from tests.docs.pages import run_by

PAGE = "docs/your-method.md"


@pytest.mark.slow
def test_the_page_works(checkout: Path, finished_recipe: Path, follow: Follow) -> None:
    for name in ("data", "exp"):
        shutil.copytree(finished_recipe / name, checkout / name)
    module, lines = run_by(__file__, PAGE, "python")
    (checkout / "imlkd/distillation/methods/logit_mse.py").write_text(module)
    imported, entry = lines.splitlines()
    objective = checkout / "imlkd/distillation/objective.py"
    head, begin, rest = objective.read_text().partition("METHODS: Mapping")
    beside = "from imlkd.distillation.methods.kd import"
    assert begin and beside in head
    objective.write_text(
        head.replace(beside, f"{imported}\n{beside}") + begin + rest.replace("{\n", f"{{\n{entry}\n", 1)
    )
    (section,) = run_by(__file__, PAGE, "markdown")
    with open(checkout / "docs/config.md", "a", encoding="utf-8") as stream:
        stream.write(f"\n{section}")

    said = follow(checkout, run_by(__file__, PAGE))
    assert " passed" in said and "deselected" in said and "stage 4 (logit-mse)" in said
    assert "| `weight` | 0.01 | 0 or more | w, of the term |" in (checkout / "docs/config.md").read_text().splitlines()
    assert "Ba, Caruana" in (checkout / "docs/methods.md").read_text()
    assert (checkout / "exp/minivox_logit-mse/final.pt").is_file()
    assert '"logits":' in (checkout / "exp/minivox_logit-mse/log/train.jsonl").read_text()
