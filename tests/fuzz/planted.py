"""An object that does what no reader may let it do."""

from collections.abc import Callable
from pathlib import Path


class Planted:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return Path.write_text, (self.path, "x")  # type: ignore[return-value]
