"""Codes of the teacher's frames and their prediction, against the plain formulas."""

import random

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Widths
from imlkd.distillation.methods.mvq import CODEBOOK, Mvq, MvqConfig, averaged_frames, train_quantizer
from imlkd.distillation.objective import build_method
from imlkd.models.speaker_model import SpeakerOutput


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_rank(rows: int, dim: int) -> Tensor:
    return draw(rows, 3, seed=1) @ draw(3, dim, seed=2) / 3**0.5


def test_the_quantiser_learns_and_is_reproducible() -> None:
    frames = low_rank(2000, 12)
    before = random.getstate(), torch.get_rng_state()
    quick, again, longer = (train_quantizer(frames, 2, steps, rows=200) for steps in (4, 4, 40))
    assert before[0] == random.getstate() and torch.equal(before[1], torch.get_rng_state())
    for (name, one), other in zip(quick.state_dict().items(), again.state_dict().values(), strict=True):
        assert name == "id_buf" or torch.equal(one, other), name

    def error(quantizer: torch.nn.Module) -> float:
        codes = quantizer.encode(frames, as_bytes=False)  # type: ignore[operator]
        assert codes.shape == (2000, 2) and int(codes.max()) < CODEBOOK
        return float((quantizer.decode(codes) - frames).detach().square().mean() / frames.square().mean())  # type: ignore[operator]

    assert error(longer) < 0.2 < 1.0 and error(longer) < error(quick)


def test_frames_share_a_code() -> None:
    stage = draw(2, 3, 9)
    found = averaged_frames(stage, 2)
    assert found.shape == (2, 4, 3)
    torch.testing.assert_close(averaged_frames(stage[:, :, :8], 2)[1, 3], stage[1, :, 6:8].mean(1))
    assert averaged_frames(stage[:, :, :1], 4).shape == (2, 1, 3)


def test_the_term_is_the_mean_negative_log_probability_of_the_codes() -> None:
    config = MvqConfig(weight=0.3, codebooks=2, pool=2, hidden=16, steps=4)
    method = Mvq(config)
    method.prepare(Widths(6, stages=(8,)), Widths(6, stages=(4, 12)), classes=3)
    theirs = low_rank(5 * 20, 12).reshape(5, 20, 12).transpose(1, 2)
    method.fit(lambda count: theirs[:count])
    ours = draw(5, 8, 10, seed=4)
    output = SpeakerOutput([ours], draw(5, 4), draw(5, 6), None)
    teacher = SpeakerOutput([draw(5, 4, 20), theirs], draw(5, 4), draw(5, 6), None)
    batch = DistillationBatch(draw(5, 20, 4), torch.zeros(5, dtype=torch.long), teacher_output=teacher)
    found = method.terms(batch, [View(batch.features, output, draw(5, 3))])["codes"]

    codes, predictor = method.codes(theirs).reshape(-1, 2), method.predictor
    inputs = ours.transpose(1, 2).reshape(-1, 8)
    total = torch.zeros(())
    for h, code in zip(inputs, codes, strict=True):
        hidden = functional.linear(h, predictor.linear1.weight, predictor.linear1.bias)  # type: ignore[union-attr]
        for n in range(2):
            if n:
                scale = 0.5 * (16 / 2) ** 0.5  # the package's, so that codes and frame weigh alike
                hidden = hidden + scale * predictor.codebook_embedding.weight[code[n - 1]]  # type: ignore[union-attr]
            logits = predictor.linear2b_weight[n] @ h + predictor.linear2_bias[n]  # type: ignore[index]
            logits = logits + predictor.linear2_weight[n] @ torch.relu(hidden)  # type: ignore[index]
            total = total - logits.log_softmax(0)[code[n]]
    torch.testing.assert_close(found, 0.3 * total / (len(inputs) * 2))


def test_the_quantiser_is_not_trained_with_the_student() -> None:
    method = build_method("mvq", None, ["steps=4", "codebooks=2"])
    method.prepare(Widths(6, stages=(8,)), Widths(6, stages=(12,)), classes=3)
    assert isinstance(method, Mvq)
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert trained and all(name.startswith("predictor.") for name in trained)
