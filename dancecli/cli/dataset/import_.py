"""`dance import`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.dataset.clip_options import (
    AudioOption,
    CodecOption,
    ExactOption,
    LinkOption,
    MaxDamagedOption,
    MinLengthOption,
    ShortSideOption,
    outcome_lines,
    rules_of,
)
from dancecli.cli.options import DryRunOption, JsonOption, WorkersOption, WorkspaceOption
from dancecli.core.text import pluralize, without_dots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dancecli.dataset.ingest.import_folder import ImportResult
    from dancecli.dataset.ingest.import_plan import ImportRow

_SHOWN, _ROWS_SHOWN = 5, 200
_LAYOUTS = "kinetics|ucf101|hmdb51|aist|letsdance|activitynet|plain"


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the videos.")],
    workspace_dir: WorkspaceOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Label file. [default: the workspace's set, else the 19 dance styles if all labels are "
            "among them or for a download of Kinetics, Let's Dance or ActivityNet, else the names of "
            "the folders]",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"How the files are named: {_LAYOUTS}. [default: detected by name and length]",
            show_default=False,
        ),
    ] = None,
    label_pattern: Annotated[
        str,
        typer.Option(
            metavar="REGEX",
            help="Take the label from a file's path below DIR: the group `(?P<label>...)`, or the only "
            "group.",
        ),
    ] = "",
    group_pattern: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGEX",
            help="Take groups that a split keeps whole from a file's path: `(?P<dancer>...)`. "
            "May be given several times.",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV of further groups: a column of clips or files, then one column per kind of group. "
            "Names stored before for a clip are replaced by those of the same kind, which is printed.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the dataset that the clips are from. [default: the layout]",
            show_default=False,
        ),
    ] = None,
    link: LinkOption = False,
    audio: AudioOption = True,
    max_damaged: MaxDamagedOption = 0.05,
    min_length: MinLengthOption = 0.0,
    exact: ExactOption = False,
    short_side: ShortSideOption = 256,
    codec: CodecOption = "h264",
    workers: WorkersOption = 0,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Import videos that are already on disk.

    Reads downloads of Kinetics, UCF-101, HMDB51, AIST, Let's Dance and ActivityNet, any videos in a
    folder per label, and a folder with a list (a CSV with the columns file, label, and optionally groups
    and subset). Times in a file's name are used only if they fit its length. Each clip is encoded as
    `dance fetch` does, validated by a full decode, and recorded. Run it again to resume.

    `--dry-run` prints one row per file: the clip that it becomes, or why it is left out. Exit code 3 if
    a file that should be a clip is left out.

    Example: `dance import recordings --group-pattern "(?P<dancer>d[0-9]+)" --dry-run`
    """
    from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
    from dancecli.dataset.ingest.importer import ImportOptions

    rules = rules_of(max_damaged, min_length, exact=exact, short_side=short_side, codec=codec)
    settings = ImportSettings(
        folder=without_dots(folder),
        labels=labels,
        dataset=dataset,
        layout=_layout_of(layout),
        label_pattern=label_pattern,
        group_patterns=tuple(group_pattern or ()),
        groups=groups,
        options=ImportOptions(link, audio, workers, rules=rules),
        dry_run=dry_run,
    )
    with reporting("import") as reporter:
        result = import_folder(open_workspace(workspace_dir, create=not dry_run), settings, reporter)
    if json_output:
        print_json(_document(result))
    else:
        _show(result)
    for note in result.notes:
        info(note)
    _tell(result.conflicts, "in conflict", "the clip that was there first counts")
    if not result.complete:
        raise typer.Exit(3)


def _layout_of(name: str | None) -> Any:
    if name is None:
        return None
    from dancecli.sources.layouts import Layout

    try:
        return Layout(name.lower())
    except ValueError:
        raise typer.BadParameter(f"{name!r} is none of {_LAYOUTS.replace('|', ', ')}") from None


def _document(result: ImportResult) -> dict[str, Any]:
    return {
        "given": result.given,
        "clips": result.clips,
        "there": result.there,
        "left_out": result.left_out,
        "labels": result.labels,
        "labels_from": result.labels_from,
        "layouts": result.layouts,
        "conflicts": result.conflicts,
        "notes": result.notes,
        "files": [_file(row) for row in result.files],
        "outcomes": asdict(result.outcomes) if result.outcomes is not None else None,
    }


def _file(row: ImportRow) -> dict[str, Any]:
    groups: dict[str, list[str]] = {}
    for kind, name in row.groups:
        groups.setdefault(kind, []).append(name)
    return asdict(row) | {"groups": groups, "is_clip": row.is_clip}


def _groups_of(files: Sequence[ImportRow]) -> str:
    """Count the groups of each kind, and the clips that have one; empty if none has."""
    names: dict[str, set[str]] = {}
    clips: Counter[str] = Counter()
    for row in files:
        if row.is_clip:
            clips.update({kind for kind, _ in row.groups})
            for kind, name in row.groups:
                names.setdefault(kind, set()).add(name)
    return ", ".join(
        f"{len(names[kind]):,} {kind} ({pluralize(clips[kind], 'clip')})" for kind in sorted(names)
    )


def _show(result: ImportResult) -> None:
    layouts = ", ".join(f"{count:,} {name}" for name, count in result.layouts.items()) or "none"
    print_result(f"clips by the form of their names: {layouts}")
    print_result(f"labels: the {len(result.labels)} of {result.labels_from}")
    if groups := _groups_of(result.files):
        print_result(f"groups: {groups}")
    if result.outcomes is None:
        _show_rows(result.files)
    rows = [(label, count, result.there.get(label, 0)) for label, count in result.clips.items()]
    rows.append(("all", sum(result.clips.values()), sum(result.there.values())))
    print_result(table(("label", "clips", "there already"), rows))
    left_out = "".join(f" + {count:,} {reason}" for reason, count in result.left_out.items())
    print_result(f"files given: {result.given:,} = {pluralize(sum(result.clips.values()), 'clip')}{left_out}")
    if result.outcomes is None:
        print_result("nothing was written (--dry-run)")
        return
    print_result("\n".join(outcome_lines(result.outcomes)))
    _tell(
        [f"{row.path}: {row.status}, {row.text}" for row in result.files if not row.is_clip],
        "left out",
        "all of them: left-out.csv",
    )


def _show_rows(files: Sequence[ImportRow]) -> None:
    rows = [
        (
            row.path,
            row.clip_id if row.is_clip else "",
            row.label if row.is_clip else "",
            ", ".join(f"{kind} {name}" for kind, name in row.groups) if row.is_clip else "",
            f"{row.start_ms / 1000:.3f}" if row.is_clip else "",
            f"{row.length_ms / 1000:.3f}" if row.is_clip else "",
            row.status if row.is_clip else f"{row.status}: {row.text}",
        )
        for row in files[:_ROWS_SHOWN]
    ]
    print_result(table(("file", "clip", "label", "groups", "start s", "length s", "status"), rows, "left"))
    if len(files) > _ROWS_SHOWN:
        print_result(f"and {len(files) - _ROWS_SHOWN:,} more files (all of them: --json)")


def _tell(lines: Sequence[str], what: str, more: str) -> None:
    if not lines:
        return
    info(f"{pluralize(len(lines), 'file')} {what} ({more}):")
    for line in lines[:_SHOWN]:
        info(f"  {line}")
    if len(lines) > _SHOWN:
        info(f"  and {len(lines) - _SHOWN:,} more (all of them: --json)")
