"""Call a command from Python: the same names, defaults and `dance.toml` as on the command line."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import typer

from dancecli.cli import console
from dancecli.cli.loader import load, module_of
from dancecli.core.errors import UsageError
from dancecli.core.progress import Reporter
from dancecli.storage.workspace import Workspace

# What only makes sense on a terminal; the workspace is the object that a function belongs to.
TERMINAL_ONLY = frozenset(
    {
        *("workspace_dir", "json_output", "watch", "tensorboard", "wandb", "mlflow"),
        # Forms of a printed table; what it holds is in the document.
        *("as_csv", "latex", "markdown"),
    }
)

# With several GPUs these start themselves again by the words of their command line, of which there are none.
_RESTARTED = frozenset({"finetune", "train", "tune"})


def parameters(name: str) -> list[inspect.Parameter]:
    """Return the parameters of a command, with their defaults, that Python code can pass."""
    found = inspect.signature(_function(name)).parameters.values()
    kinds = get_type_hints(_function(name))
    return [
        one.replace(annotation=kinds[one.name], default=_default_of(one.default))
        for one in found
        if one.name not in TERMINAL_ONLY
    ]


def summary(name: str) -> str:
    """Return a command's description, without the examples of its command line."""
    text = inspect.getdoc(_function(name)) or ""
    return text.partition("\n\nExample:")[0].replace("\b\n", "")


def call(name: str, workspace: Workspace, options: Mapping[str, Any], reporter: Reporter) -> tuple[Any, bool]:
    """Run a command and return its JSON document, and whether nothing is missing.

    Options that are not given come from `dance.toml`, as on the command line.

    Raises:
        DanceError: whatever the command reports as an error; UsageError for an unknown option.
    """
    known = {parameter.name: parameter for parameter in parameters(name)}
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(f"{name} has no option {unknown[0]!r}", f"known: {', '.join(known)}")
    defaults = load(name).defaults(workspace)
    given = {key: value for key, value in {**defaults, **options}.items() if key in known}
    kinds = get_type_hints(_function(name))
    values = {key: _default_of(parameter.default) for key, parameter in known.items()}
    values |= {key: _converted(key, value, kinds[key]) for key, value in given.items()}
    if needed := [key for key, value in values.items() if value is inspect.Parameter.empty]:
        raise UsageError(f"{name} needs {needed[0]!r}")
    if name in _RESTARTED and (values.get("gpus") or 1) > 1:
        raise UsageError(
            "several processes are started by the command line",
            f"dance {name} --gpus N; here omit gpus, in dance.toml too",
        )
    taken = inspect.signature(_function(name)).parameters
    values |= {"json_output": True} if "json_output" in taken else {}
    complete = True
    with console.capture(reporter) as output:
        try:
            _function(name)(workspace_dir=workspace.root, **values)
        except typer.Exit as end:
            complete = end.exit_code == 0
        except typer.TyperException as error:
            raise UsageError(error.format_message()) from None
    return output.document, complete


def _function(name: str) -> Callable[..., None]:
    function: Callable[..., None] = module_of(name).command
    return function


def _default_of(value: Any) -> Any:
    """An option's default, which Typer lets stand in the option itself."""
    return value.default if isinstance(value, typer.models.ParameterInfo) else value


def _converted(name: str, value: Any, kind: Any) -> Any:
    """Convert text to the option's own type: a path, a choice, or a list of either.

    Raises:
        UsageError: a switch is given something else than True or False.
    """
    if value is None:
        return None
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        many = [value] if isinstance(value, str | Path) else list(value)
        return [_converted(name, one, inner) for one in many]
    if kind is Path:
        return Path(value)
    if kind is bool and not isinstance(value, bool):
        raise UsageError(f"{name}={value!r} is neither True nor False")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
