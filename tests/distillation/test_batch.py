"""Parts of a batch: every row once, in order, every field of it."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from imlkd.distillation.batch import DistillationBatch, parts_of
from imlkd.models.speaker_model import SpeakerOutput


@given(rows=st.integers(2, 13), count=st.integers(1, 9))
def test_parts_together_are_the_batch(rows: int, count: int) -> None:
    number = torch.arange(rows).float()
    answer = SpeakerOutput([number[:, None, None]], number[:, None], number[:, None], None)
    features = number[:, None, None].expand(rows, 5, 2)
    batch = DistillationBatch(features, number.long(), teacher_logits=number[:, None], teacher_output=answer)
    parts = parts_of(batch, count)
    assert len(parts) == max(1, min(count, rows // 2)) and all(len(part.labels) >= 2 for part in parts)
    assert torch.cat([part.labels for part in parts]).tolist() == list(range(rows))
    for part in parts:
        assert part.features.shape == (len(part.labels), 5, 2) and part.gate is None
        assert part.teacher_logits is not None and torch.equal(part.teacher_logits[:, 0], part.labels.float())
        assert part.teacher_output is not None and part.teacher_output.cosines is None
        assert torch.equal(part.teacher_output.stages[0][:, 0, 0], part.labels.float())
