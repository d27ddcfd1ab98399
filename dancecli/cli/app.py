"""The `dance` command: the only place where an error becomes output and an exit code.

Exit codes: 0 done; 1 an error, printed in one line with a hint; 2 wrong usage; 3 finished, but
something is missing; 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli import console
from dancecli.cli.loader import HELP_OPTIONS, LazyGroup
from dancecli.core.errors import DanceError

# Typer reads the unset options of a group with pydantic, whose import costs every command 60 ms. So
# the group has options only where they can be used: before a command, and for shell completion,
# which runs the program without arguments and with this variable set.
_HAS_GROUP_OPTIONS = "_DANCE_COMPLETE" in os.environ or "".join(sys.argv[1:2]).startswith("-")

app = typer.Typer(
    cls=LazyGroup,
    add_completion=_HAS_GROUP_OPTIONS,
    add_help_option=_HAS_GROUP_OPTIONS,
    help="Build a dance-video dataset and benchmark models on it, one command per step.\n\n"
    "To start, run in an empty folder: `dance fetch`, `dance split --subset 525`, "
    "`dance finetune --pretrain nonlocal`, `dance report`.",
    rich_markup_mode="markdown",
    context_settings=HELP_OPTIONS,
    pretty_exceptions_enable=False,
)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        sys.stdout.write(f"dance {version('dancecli')}\n")
        raise typer.Exit


@app.callback()
def _dance(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run `dance` and exit with its exit code."""
    _handle_sigterm()
    for stream in (sys.stdout, sys.stderr):
        # A file name may contain bytes that no encoding can print.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Plots use one font for the names of clips and classes; a missing glyph is drawn as a box.
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    try:
        # Without a command, print the status; `python -m dancecli` is dance too.
        code = app(sys.argv[1:] or ["status"], prog_name="dance", standalone_mode=False)
    except DanceError as error:
        code = _fail(error.message, error.hint, error.exit_code)
    except typer.TyperException as error:
        code = _usage(error)
    except typer.Abort:
        code = 130
    except ImportError as error:
        code = _fail(*_import_text(error), 1)
    except OSError as error:
        # The user can fix what the file system refuses; every OSError is printed with its file.
        code = _fail(_os_text(error), _os_hint(error), 1)
    if code == 130:
        _interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _handle_sigterm() -> None:
    """Let SIGTERM (a scheduler's time limit, a shutdown) interrupt a command as Ctrl-C does."""
    own_pid = os.getpid()

    def interrupt(number: int, _: object) -> None:
        if os.getpid() == own_pid:
            # A scheduler signals workers too, and torch would raise an error of its own for each that ends.
            signal.signal(signal.SIGCHLD, lambda *_: None)
            raise KeyboardInterrupt
        # A forked worker exits at once, as it would without this handler.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def _fail(message: str, hint: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n" + (f"  hint: {hint}\n" if hint else ""))
    _document(message, hint)
    return code


def _interrupted() -> None:
    message = "interrupted; finished work is kept"
    sys.stderr.write(f"{message}\n")
    _document(message, "rerun the command: it resumes")


def _usage(error: typer.TyperException) -> int:
    from typer.rich_utils import rich_format_error

    rich_format_error(error)  # type: ignore[arg-type]
    dashed = [word for word in sys.argv[2:] if word.startswith("-") and Path(word).exists()]
    hint = f"write the file as ./{dashed[0]}, or it is an option" if dashed else ""
    if hint:
        sys.stderr.write(f"  hint: {hint}\n")
    _document(error.format_message(), hint)
    return error.exit_code


def _document(message: str, hint: str) -> None:
    """Print the JSON document for a program that reads stdout, unless the command has printed one."""
    if "--json" in sys.argv[1:] and not console.json_printed:
        console.print_json({"error": message, "hint": hint})


def _import_text(error: ImportError) -> tuple[str, str]:
    """Describe a package that is missing or only half installed, and how to install it.

    Raises:
        ImportError: it is this package's own.
    """
    package = (error.name or "").partition(".")[0]
    if package == "dancecli":
        raise error
    missing = isinstance(error, ModuleNotFoundError) and package
    text = f"the package {package} is not installed" if missing else f"a package cannot be imported ({error})"
    return text, f"install what it belongs to: pip install 'dancecli[{_extra_of(package)}]'"


def _extra_of(package: str) -> str:
    """The extra that brings a package by its name; most packages are for training."""
    import importlib.metadata
    import re

    for requirement in importlib.metadata.requires("dancecli") or ():
        found = re.match(r"([\w.-]+).*\bextra == ['\"]([\w-]+)['\"]", requirement)
        if found and found[1].replace("-", "_").lower() == package:
            return found[2]
    return "train"


def _os_text(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def _os_hint(error: OSError) -> str:
    hints = {
        errno.ENOSPC: "free some disk space and rerun the command: it resumes",
        errno.EDQUOT: "the disk quota is exceeded: free some space and rerun the command: it resumes",
        errno.EACCES: "check the permissions of this path",
        errno.EROFS: "the file system is read-only: use a workspace on another one",
        errno.EXDEV: "a folder of the workspace is on another file system: keep the whole workspace on one",
        errno.EFBIG: "the file exceeds the size limit of this shell: see ulimit -f",
    }
    return hints.get(error.errno or 0, "")


if __name__ == "__main__":
    main()
