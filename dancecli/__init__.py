"""Build a dance-video dataset and benchmark models on it; see `dancecli.api` for the Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dancecli.api import DanceError, Progress, Result, Run, Split, Workspace, create, open

__all__ = ["DanceError", "Progress", "Result", "Run", "Split", "Workspace", "__version__", "create", "open"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: `import dancecli` alone imports nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("dancecli")
    if name not in __all__:
        raise AttributeError(f"module 'dancecli' has no attribute {name!r}")
    from dancecli import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
