"""The ``imlkd`` command: a lazy group, so that ``--help`` of any verb answers at once."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from imlkd import __version__
from imlkd.errors import PREEMPTED, Preempted, UserError
from imlkd.files import REMEDY

# verb -> (module, attribute, one line for the overview)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "data": ("imlkd.cli.data", "data", "Prepare, check and convert corpora."),
    "minivox": ("imlkd.cli.minivox", "minivox", "Make the built-in corpus."),
    "corpus": ("imlkd.cli.corpus", "corpus", "Prepare VoxCeleb and other published corpora."),
    "features": ("imlkd.cli.features", "features", "Compute features and speech activity."),
    "model": ("imlkd.cli.model", "model", "Train or import a teacher, make targets, distil, embed."),
    "explain": ("imlkd.cli.explain", "explain", "Pictures and numbers of what carries the speaker in a WAV."),
    "faithfulness": ("imlkd.cli.faithfulness", "faithfulness", "Do a model's maps say what the model goes by?"),
    "launch": ("imlkd.cli.launch", "launch", "Run a training in several processes."),
    "methods": ("imlkd.cli.methods", "methods", "The distillation methods, what each needs and its source."),
    "trials": ("imlkd.cli.trials", "trials", "Make, show and convert trial lists."),
    "score": ("imlkd.cli.scoring", "score", "Score trials."),
    "evaluate": ("imlkd.cli.evaluate", "evaluate", "EER, minDCF and intervals of a score file."),
    "compare": ("imlkd.cli.compare", "compare", "Two systems on the same trials: differences and intervals."),
    "plda": ("imlkd.cli.plda", "plda", "Fit, adapt and copy a PLDA back-end."),
    "calibrate": ("imlkd.cli.calibrate", "calibrate", "Fit the map from scores to log-likelihood ratios."),
    "speaker-means": ("imlkd.cli.scoring", "speaker_means", "Average embeddings by speaker."),
    "embed": ("imlkd.cli.embed", "embed", "Embeddings of audio by a finished model."),
    "verify": ("imlkd.cli.verify", "verify", "Are two recordings of one speaker?"),
    "enroll": ("imlkd.cli.identify", "enroll", "Add a speaker to a store."),
    "identify": ("imlkd.cli.identify", "identify", "Who in a store does a voice sound like?"),
    "store": ("imlkd.cli.store", "store", "List, remove and check the speakers of a store."),
    "export": ("imlkd.cli.export", "export", "A finished model as ONNX, safetensors or TorchScript."),
    "study": ("imlkd.cli.study", "study", "Compare methods over folds and seeds."),
    "report": ("imlkd.cli.report", "report", "The result table, pages, two experiments side by side."),
    "doctor": ("imlkd.cli.doctor", "doctor", "What this machine and environment can do, and what to mend."),
    "completion": ("imlkd.cli.completion", "completion", "Completion for bash, zsh and fish."),
    "recipe": ("imlkd.cli.recipe", "recipe", "Checks and names that run.sh needs."),
    "marker": ("imlkd.cli.marker", "marker", "Done markers of stages."),
    "watch": ("imlkd.cli.watch", "watch", "Run parallel jobs and show their progress."),
    "join-scp": ("imlkd.cli.marker", "join_scp", "Join the scp files of parallel jobs."),
}

TRAININGS = (["model", "train-teacher"], ["model", "distil"])  # SIGTERM is a preemption to them from the start
INTERRUPTED = "imlkd: interrupted: run the same command again to go on"


class LazyGroup(click.Group):
    """Imports a command's module when that command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="imlkd")
def main() -> None:
    """Distil a large speaker-verification model into a small one.

    Exit status: 0 done, 1 bad input (one line on stderr says what and where), 2 wrong usage, 3 out of date
    (`marker check`) or not all there (`model covers`), 75 preempted (SIGUSR1, or SIGTERM during a training: saved, run
    it again), 130 interrupted.
    """


def run() -> None:
    """Entry point: user errors become one line, an interrupt leaves with the shell's status 130."""
    sys.unraisablehook = _unraisable
    try:
        signal.signal(signal.SIGTERM, _preempt if sys.argv[1:3] in TRAININGS else _interrupt)
        signal.signal(signal.SIGUSR1, _preempt)
        signal.signal(signal.SIGINT, _interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which utils/imlkd has held back
        # Outside click's standalone mode a command's Exit comes back as the return value.
        sys.exit(main(prog_name="imlkd", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        _say(f"imlkd: error: {error}")
        sys.exit(1)
    except Preempted as reason:
        _say(f"imlkd: preempted: {reason}")
        sys.exit(PREEMPTED)
    except (KeyboardInterrupt, click.Abort):
        _say(INTERRUPTED)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "imlkd":
            raise
        _say(f"imlkd: error: the package {package} is missing: `pip install '.[train]'` in the checkout, or path.sh")
        sys.exit(1)
    except OSError as error:
        if error.errno not in REMEDY:
            raise
        _say(f"imlkd: error: {error.filename or 'standard output'}: {REMEDY[error.errno]}")
        sys.exit(1)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while the interpreter is taken down


def _say(line: str) -> None:
    print(" ".join(line.splitlines()), file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal unwinds, so that nothing half-written stays; a second one ends the process at once.

    So does one during an import: initialisers in C++ cannot take an exception.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, _leave)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _say(INTERRUPTED)
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


def _preempt(number: int, frame: FrameType | None) -> None:
    """SIGUSR1 where there is nothing to save: while a training runs it takes the signal itself."""
    _say("imlkd: preempted: nothing to save yet: run the same command again")
    os._exit(PREEMPTED)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(130)


def _unraisable(raised: sys.UnraisableHookArgs) -> None:
    """Where Python would print and forget an exception (in a destructor), an interrupt still ends the process."""
    if isinstance(raised.exc_value, KeyboardInterrupt):
        _say(INTERRUPTED)
        os._exit(130)
    sys.__unraisablehook__(raised)


if __name__ == "__main__":
    run()
