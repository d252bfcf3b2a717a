"""The keys of a training, in sections by the part of the loop that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field

from imlkd.config import bounded, chosen, switch


@dataclass(frozen=True)
class CheckpointsConfig:
    """When the full state is written, and what is kept of it."""

    minutes: float = bounded(10.0, low=0.0, help="between checkpoints inside an epoch, 0: none there")
    steps: int = bounded(0, low=0, help="the same in steps, 0: none")
    last: int = bounded(2, low=1, help="newest checkpoints that are kept")
    best: int = bounded(1, low=0, help="epochs whose weights are kept, by `dev` where it is measured, else by the loss")


@dataclass(frozen=True)
class LoaderConfig:
    """Who makes the batches; the same batches whatever is chosen."""

    workers: int = bounded(0, low=0, high=64, help="processes that make batches, 0: the training itself")
    prefetch: int = bounded(4, low=1, high=64, help="batches a worker makes ahead")
    timeout: float = bounded(300.0, low=1.0, help="seconds after which a worker counts as stuck")


@dataclass(frozen=True)
class MarginConfig:
    """What the margin softmax does beside `margin` and `scale`."""

    begin: float = bounded(0.0, low=0.0, high=1.0, help="share of the training before which the margin is 0")
    end: float = bounded(0.0, low=0.0, high=1.0, help="share at which it is whole, after a straight rise")
    sub_centres: int = bounded(1, low=1, high=16, help="weights of a class, the nearest of which counts")
    top_k: int = bounded(0, low=0, help="other classes that come nearest and are pushed away, 0: none")
    top_k_margin: float = bounded(0.06, low=0.0, high=1.5, help="by which they are, radians")
    share: float = bounded(
        1.0, low=0.001, high=1.0, help="of the classes that a step's softmax is over: those of its batch, others drawn"
    )


@dataclass(frozen=True)
class RateConfig:
    """How the learning rate goes after `warm_up`, the rise to its peak."""

    schedule: str = chosen(
        "one-cycle", ("one-cycle", "cosine", "exponential", "cyclic"),
        help="cosine to 0; cosine or exponential to `last`; triangles between `last` and a peak that halves",
    )  # fmt: skip
    last: float = bounded(0.01, low=0.0001, high=1.0, help="share of the peak that is left at the end")
    cycles: int = bounded(4, low=1, high=1000, help="triangles of `schedule: cyclic`")
    scaling: str = chosen(
        "none", ("none", "linear", "sqrt"),
        help="`learning_rate` holds for `batch`, or for `of_batch` and goes with the batch or its square root",
    )  # fmt: skip
    of_batch: int = bounded(64, low=2, help="segments of 2 s a step that `learning_rate` is for, with `scaling`")


@dataclass(frozen=True)
class FineTuningConfig:
    """What is other in the second training, the large-margin fine-tuning of a finished student (`--lm-epochs`)."""

    margin: float = bounded(0.5, low=0.0, high=1.5, help="AAM, radians")
    rate: float = bounded(0.1, low=0.0001, high=1.0, help="share of `training.learning_rate` that is its peak")
    longest: bool = switch(True, help="draw only segments of each utterance's longest duration")


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained."""

    epochs: int = bounded(30, low=1, high=100000, help="passes over the utterances")
    batch: int = bounded(64, low=2, help="segments of 2 s a step; shorter ones come in larger batches")
    crops: int = bounded(1, low=1, help="segments of each utterance an epoch")
    learning_rate: float = bounded(3e-3, low=0.0, high=10.0, help="peak, for the whole batch of all processes")
    optimizer: str = chosen("adamw", ("adamw", "sgd"), help="sgd: with Nesterov's momentum")
    momentum: float = bounded(0.9, low=0.0, high=0.999, help="of sgd")
    weight_decay: float = bounded(1e-4, low=0.0, high=10.0, help="not on norms and biases")
    warm_up: float = bounded(0.15, low=0.0, high=0.9, help="share of the training over which the rate rises")
    ramp: float = bounded(0.07, low=0.0, high=1.0, help="share of the training over which the method's terms rise")
    margin: float = bounded(0.2, low=0.0, high=1.5, help="AAM, radians")
    scale: float = bounded(30.0, low=1.0, high=1000.0, help="of the cosines")
    clip: float = bounded(5.0, low=0.0, help="largest gradient norm")
    accumulate: int = bounded(1, low=1, help="parts that a batch goes through the network in, for less memory")
    precision: str = chosen(
        "float32", ("float32", "bfloat16", "float16"), help="of the network; losses are float32 in any case"
    )
    compile: bool = switch(False, help="the network by torch.compile; needs a C++ compiler")
    seed: int = bounded(1, low=0, help="of weights and batches")
    threads: int = bounded(0, low=0, help="of a training, 0: all cores")
    statistics: str = chosen("shared", ("shared", "own"), help="of several processes' batch norms: over all rows, own")
    final: str = chosen(
        "last", ("last", "mean", "ema", "best"),
        help="the weights that are left: of the last step, mean of the last epochs, moving average, mean of the best",
    )  # fmt: skip
    mean_epochs: int = bounded(5, low=1, help="epochs that `final: mean` takes")
    ema_decay: float = bounded(0.999, low=0.0, high=1.0, help="of `final: ema`, a step")
    longest: bool = switch(False, help="draw only segments of each utterance's longest duration")
    duration: float = bounded(0.0, low=0.0, help="draw only segments of so many seconds, 0: of every duration")
    dev_speakers: int = bounded(0, low=0, help="speakers that are not trained on: their EER after each epoch chooses")
    max_skipped: int = bounded(0, low=0, help="steps that may be left out, their loss or gradient not being finite")
    rate: RateConfig = field(default_factory=RateConfig)
    softmax: MarginConfig = field(default_factory=MarginConfig)
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
