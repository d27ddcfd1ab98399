"""The `dance` command: the one place where an error becomes a text and an exit code.

Codes: 0 done; 1 an error, said in one line with a hint; 2 wrong usage; 3 finished, but
something is missing; 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import warnings
from typing import Annotated

import typer

from dancecli.cli import console
from dancecli.cli.loader import LazyGroup
from dancecli.core.errors import DanceError

# Typer reads the unset flags of a group with pydantic, whose import costs every command 60 ms. So
# the group has its flags only where they can be asked for: before any command, and where a shell
# asks what could be typed next, which it does through this variable and without arguments.
_AT_THE_TOP = "_DANCE_COMPLETE" in os.environ or "".join(sys.argv[1:2]).startswith("-")

app = typer.Typer(
    cls=LazyGroup,
    add_completion=_AT_THE_TOP,
    add_help_option=_AT_THE_TOP,
    help="Build a dance-video dataset and benchmark models on it, one command a step.\n\n"
    "In an empty folder: `dance fetch`, `dance split --subset 525`, "
    "`dance finetune --pretrain nonlocal`, `dance report`.",
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"dance {version('dancecli')}\n")
        raise typer.Exit


@app.callback()
def _dance(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run `dance` and end the process with its code."""
    _heed_sigterm()
    for stream in (sys.stdout, sys.stderr):
        # A name on disk may hold what no encoding can show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Pictures name the clips and classes in one font; a letter that it lacks is a box, and no news.
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    try:
        # Alone, it says where this workspace stands and what comes next; `python -m dancecli` is dance too.
        code = app(sys.argv[1:] or ["status"], prog_name="dance", standalone_mode=False)
    except DanceError as error:
        code = _fail(error.message, error.hint, error.exit_code)
    except typer.TyperException as error:
        code = _usage(error)
    except typer.Abort:
        code = 130
    except OSError as error:
        # What the disk refuses is the user's to mend; any other OSError is told with its file too.
        code = _fail(_os_text(error), _os_hint(error), 1)
    if code == 130:
        _interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _heed_sigterm() -> None:
    """Let SIGTERM (a scheduler's time is up, a machine goes down) end a command as Ctrl-C does."""
    ours = os.getpid()

    def interrupt(number: int, _: object) -> None:
        if os.getpid() == ours:
            raise KeyboardInterrupt
        # A forked worker ends at once, as it would without this.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def _fail(message: str, hint: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n" + (f"  hint: {hint}\n" if hint else ""))
    _document(message, hint)
    return code


def _interrupted() -> None:
    said = "interrupted; what was done is kept"
    sys.stderr.write(f"{said}\n")
    _document(said, "run the same command again: it goes on where it stopped")


def _usage(error: typer.TyperException) -> int:
    from typer.rich_utils import rich_format_error

    rich_format_error(error)  # type: ignore[arg-type]
    _document(error.format_message(), "")
    return error.exit_code


def _document(message: str, hint: str) -> None:
    """Give a program that reads stdout its one document, if the command has not given it yet."""
    if "--json" in sys.argv[1:] and not console.json_printed:
        console.print_json({"error": message, "hint": hint})


def _os_text(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def _os_hint(error: OSError) -> str:
    hints = {
        errno.ENOSPC: "free some space and run the same command again: it goes on where it stopped",
        errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
        errno.EACCES: "check who may write there",
        errno.EROFS: "the disk is read-only",
        errno.EXDEV: "a folder of the workspace lies on another disk: put the whole workspace there",
        errno.EFBIG: "a limit on the size of files holds here: ulimit -f",
    }
    return hints.get(error.errno or 0, "")


if __name__ == "__main__":
    main()
