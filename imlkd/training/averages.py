"""Which weights a training leaves: the last step's, or an average along the way."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imlkd.training.checkpoint import BestWeights
from imlkd.training.config import TrainingConfig


class Averages:
    """The average that ``final`` asks for, batch statistics included. Its state belongs to the checkpoint."""

    def __init__(self, config: TrainingConfig, model: nn.Module) -> None:
        self.config = config
        self.average: AveragedModel | None = None
        if config.final == "ema":
            moving = get_ema_multi_avg_fn(config.ema_decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=moving, use_buffers=True)
        if config.final == "mean":
            self.average = AveragedModel(model, use_buffers=True)

    def modules(self) -> dict[str, nn.Module]:
        """For the checkpoint."""
        return {} if self.average is None else {"average": self.average}

    def after_step(self, model: nn.Module) -> None:
        """Take the weights of a step into the moving average."""
        if self.average is not None and self.config.final == "ema":
            self.average.update_parameters(model)

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take the weights after epoch ``epoch`` (from 0) into the mean of the last ones."""
        if self.average is not None and self.config.final == "mean":
            if epoch >= self.config.epochs - self.config.mean_epochs:
                self.average.update_parameters(model)

    def put_into(self, model: nn.Module, best: BestWeights) -> None:
        """Give the finished model the weights that ``final`` names."""
        if self.average is not None:
            model.load_state_dict(self.average.module.state_dict())
        if self.config.final == "best":
            model.load_state_dict(best.mean())
