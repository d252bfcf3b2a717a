"""`imlkd completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL, click's own.

    bash: `eval "$(imlkd completion bash)"` in ~/.bashrc; zsh likewise in ~/.zshrc; fish: write it to
    ~/.config/fish/completions/imlkd.fish. It needs `imlkd` on PATH.
    """
    from click.shell_completion import get_completion_class

    from imlkd.cli.main import main

    found = get_completion_class(shell)
    assert found is not None  # click has these three
    click.echo(found(main, {}, "imlkd", "_IMLKD_COMPLETE").source())
