"""The recipe with classes that no label gave, and with a teacher that is a table of embeddings."""

import pytest

from imlkd.kaldi_io import read_table
from tests.recipe.workspaces import Workspace

pytestmark = pytest.mark.slow


def test_clusters(workspace: Workspace) -> None:
    options = ("--methods", "kd,imlkd", "--classes", "clusters:5")
    result = workspace.run(*options)
    assert result.status == 0, result.err
    assert "minivox_clusters5_kd" in result.out and "minivox_clusters5_imlkd" in result.out
    exp = workspace.root / "exp"
    teacher = exp / "minivox_teacher_clusters5"
    found = read_table(teacher / "utt2class", fields=2)
    assert set(found) == set(read_table(workspace.root / "data/minivox_train/utt2spk"))
    assert len(set(found.values())) == 5
    assert (teacher / "targets_minivox_train/utt2class").read_text() == (teacher / "utt2class").read_text()
    assert len((exp / "minivox_clusters5_kd/speakers").read_text().split()) == 5
    assert all(line.endswith(": up to date") for line in workspace.run(*options).ran())


def test_a_table_of_embeddings(workspace: Workspace) -> None:
    """The teacher's own, of the training set alone: the students are scored, the teacher is not."""
    made = workspace.call("local/embed.sh", "--nj", "1", "exp/minivox_teacher", "data/minivox_train", "xvectors")
    assert made.status == 0, made.err
    result = workspace.run(
        "--methods", "emb-cos,kd", "--teacher", "xvectors:xvectors/xvector.scp", "--exp", "table"
    )  # fmt: skip
    assert result.status == 0, result.err
    assert "utterances of data/minivox_test" in result.out and "not scored" in result.out
    table = (workspace.root / "table/RESULTS.md").read_text()
    assert "| minivox_emb-cos |" in table and "| minivox_kd |" in table and "| xvectors |" not in table
    refused = workspace.run("--methods", "imlkd", "--teacher", "xvectors:xvectors/xvector.scp", "--exp", "table")
    assert refused.status == 1 and "imlkd needs a network to explain or to run" in refused.err
