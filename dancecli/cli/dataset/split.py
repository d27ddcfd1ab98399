"""`dance split`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption
from dancecli.core.text import agreeing, first_of, pluralize
from dancecli.storage.removals import removal_note

if TYPE_CHECKING:
    from dancecli.dataset.split.diff import SplitDiff
    from dancecli.dataset.split.lockfile import Drift
    from dancecli.dataset.split.split import SplitResult, SplitSettings
    from dancecli.storage.workspace import Workspace

# `--keep-official` alone keeps what the annotation lists say.
OPTIONAL_VALUES = {"--keep-official": "lists"}
_SHOWN = 10


def command(
    workspace_dir: WorkspaceOption = None,
    ratios: Annotated[
        str | None,
        typer.Option(
            metavar="A/B[/C]",
            help="Percent of the clips in train/val/test, or train/test. "
            "[default: 90/5/5; 93/7 for --subset 1500, 90/10 for --subset 525]",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Divide into K folds of a cross-validation, stratified by label, so that every clip is "
            "tested once; train with dance finetune --folds.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, metavar="R", help="Repeat the division into folds with R seeds.")
    ] = 1,
    subset: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Draw N clips instead of using all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for drawing clips and assigning groups.")] = 0,
    stratify: Annotated[
        bool, typer.Option("--stratify", help="Give every subset its share of each label.")
    ] = False,
    keep_official: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-official",
            metavar="[FILE]",
            help="Keep the official subsets: those of the annotation lists, or of FILE, the split list of "
            "UCF-101, HMDB51 or AIST, a folder of them, or a CSV with the columns file,split. "
            "May be repeated.",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Keep further groups in one subset: a CSV with a column of clips or files (clip_id, file) "
            "and further ones, each a kind of group, such as dancer or venue. Stored; names of the "
            "same kind that were stored for these clips are replaced, which is printed. May be repeated.",
            show_default=False,
        ),
    ] = None,
    without_groups: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Do not keep the groups of this kind in one subset, such as venue; they stay stored. "
            "May be repeated.",
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Leave out clips whose content is black, static, letterboxed or damaged "
            "(names separated by commas).",
            show_default=False,
        ),
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rebuild the split of a lock file, and report clips that are missing or changed.",
        ),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--diff",
            metavar="A B",
            help="Compare two splits, given as names or lock files, instead of creating one.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the split. [default: from the settings]")
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Divide the clips into train, val and test, grouped by source video.

    Clips of one source video, of equal bytes, near-duplicates and clips of one group that you name are
    in one subset, and the same seed gives the same split on any machine. Writes the MMAction2 lists
    and a lock file too. Exits with 3 if clips have lost their file, or are missing or changed since the lock.

    Example: `dance split --subset 525`, or `dance split --folds 10 --groups dancers.csv`
    """
    from dancecli.dataset.group_names import tidy_name
    from dancecli.dataset.split.split import SplitSettings
    from dancecli.storage.content import parse_conditions

    workspace = open_workspace(workspace_dir, create=False)
    if diff:
        _diff(workspace, *diff, json_output=json_output)
        return
    official = keep_official or []
    settings = SplitSettings(
        ratios=ratios,
        folds=folds,
        repeats=repeats,
        subset=subset,
        seed=seed,
        name=name,
        stratify=stratify,
        keep_official=bool(official),
        lock=lock,
        official_lists=tuple(Path(word) for word in official if word != OPTIONAL_VALUES["--keep-official"]),
        groups=tuple(groups or ()),
        drop=parse_conditions(drop or ""),
        without_groups=tuple(dict.fromkeys(map(tidy_name, without_groups or ()))),
    )
    _split(workspace, settings, dry_run=dry_run, json_output=json_output)


def _split(workspace: Workspace, settings: SplitSettings, *, dry_run: bool, json_output: bool) -> None:
    from dancecli.dataset.split.annotations import annotate
    from dancecli.dataset.split.split import split
    from dancecli.report.statistics.power import smallest_gap

    result = split(workspace, settings, dry_run=dry_run)
    gap = smallest_gap(result.counts["test"])
    lists = None if dry_run else annotate(workspace, result.name)
    if json_output:
        print_json(
            _document(result)
            | {
                "minimum_detectable_difference": gap,
                "annotations": str(lists.folder) if lists else None,
                "lock": str(workspace.split_lock(result.name)),
            }
        )
    else:
        _show(result, gap)
        if lists:
            print_result(f"lists: {lists.folder}\nlock:  {workspace.split_lock(result.name)}")
    _inform(result)
    if result.left_out.gone or (result.drift and (result.drift.missing or result.drift.changed)):
        raise typer.Exit(3)


def _fold_sizes(result: SplitResult) -> list[dict[str, int]]:
    """Count the clips of each fold, of each repeat; empty for an ordinary split."""
    numbers = [clip.folds.split("/") for clip in result.clips if clip.folds]
    counts = [Counter(of_repeat) for of_repeat in zip(*numbers, strict=True)]
    return [{fold: count[fold] for fold in sorted(count, key=int)} for count in counts]


def _document(result: SplitResult) -> dict[str, Any]:
    from dancecli.dataset.split.split import absent_classes

    left_out = result.left_out
    document = {
        "split": result.name,
        "ratios": result.ratios,
        "seed": result.seed,
        "counts": result.counts,
        "groups": result.groups,
        "overlaps": result.overlaps,
        "missing_labels": result.missing_labels,
        "absent_classes": absent_classes(result.clips, result.labels),
        **({"folds": _fold_sizes(result)} if _fold_sizes(result) else {}),
        "hash": result.digest,
        "changed": result.changed,
        "known_groups": asdict(result.known) | {"warnings": result.known.warnings},
        "gone": left_out.gone,
        "dropped": left_out.dropped or {},
        "not_official": left_out.not_official,
        "unknown_names": left_out.unknown_names,
        "excluded": left_out.excluded,
        "relabeled": result.relabeled,
        "torn_official_groups": result.torn,
        "moved_from_official": result.moved,
        "notes": result.notes,
    }
    if not (drift := result.drift):
        return document
    clips = {f"{what}_clips": getattr(drift, what) for what in ("missing", "changed", "unlisted")}
    return document | {"drift": _drift_counts(drift) | clips}


def _show(result: SplitResult, gap: float | None) -> None:
    rows: list[tuple[object, ...]]
    rows = [(subset, result.counts[subset], result.groups[subset]) for subset in result.counts]
    for repeat, sizes in enumerate(_fold_sizes(result), start=1):
        values = sizes.values()
        name = f"{len(sizes)} folds" if repeat == 1 else f"repeat {repeat}"
        rows.append((name, f"{min(values)}-{max(values)} each" if values else 0, ""))
    seed = "" if result.seed is None else f", seed {result.seed}"
    print_result(f"split {result.name} ({result.ratios}{seed})")
    print_result(table(("subset", "clips", "groups"), rows))
    part = "fold" if _fold_sizes(result) else "subset"
    print_result(f"groups in more than one {part}: {result.overlaps}; hash {result.digest[:12]}")
    print_result(f"kept in one subset: {result.known.checked}")
    num_test = result.counts["test"]
    print_result(f"minimum detectable difference: {_detectable(num_test, result.groups['test'], gap)}")
    if result.drift:
        counts = ", ".join(f"{count} {what}" for what, count in _drift_counts(result.drift).items())
        print_result(f"drift from the lock: {counts}")
        for what, ids in (("missing", result.drift.missing), ("changed", result.drift.changed)):
            if ids:
                print_result(f"{what}: {first_of(ids, _SHOWN)}")


def _detectable(num_test: int, groups: int, gap: float | None) -> str:
    """Say which difference between two runs the test subset can show."""
    from dancecli.report.statistics.significance import fewest_wins

    clips = pluralize(num_test, "test clip")
    if gap is not None:
        return f"{100 * gap:.1f} points with {clips} (80 % power, McNemar's exact test, 20 % discordant)"
    # Models are swapped within groups, so that those of one count once.
    if groups < (fewest := fewest_wins()):
        return (
            f"none, too few for any difference: clips of {fewest} groups are needed, and there are {groups}"
        )
    return (
        f"none with {clips} if 20 % of them are discordant (80 % power, McNemar's exact test); a difference "
        f"is significant from {fewest} clips, of as many groups, that one run alone has right"
    )


def _inform(result: SplitResult) -> None:
    """Report what the split leaves out, cannot know, or changed."""
    from dancecli.dataset.split.split import uneven_folds

    if not result.changed:
        info("the same split exists already; nothing changed")
    for subset, count in (result.drift.removed if result.drift else {}).items():
        missing = result.drift.num_missing.get(subset, 0) if result.drift else 0
        info(f"{subset}: {removal_note(result.counts[subset], count, missing)}")
    for note in (*result.notes, *result.known.warnings):
        info(note)
    if result.torn:
        info(
            f"{agreeing(len(result.torn), 'group', 'is')} in several official subsets; each is kept "
            f"in its held-out one, "
            f"which moves {pluralize(result.moved, 'clip')} out of their official subset"
        )
    left_out = result.left_out
    if left_out.gone:
        info(f"{agreeing(len(left_out.gone), 'clip', 'is')} in no subset: the file is lost")
    if left_out.excluded or result.relabeled:
        info(
            f"corrections: {pluralize(len(left_out.excluded), 'clip')} excluded, "
            f"{len(result.relabeled)} relabeled "
            "(labels.csv)"
        )
    for condition, ids in (left_out.dropped or {}).items():
        info(f"dropped: {pluralize(len(ids), f'{condition} clip')}")
    if left_out.not_official:
        info(
            f"{agreeing(len(left_out.not_official), 'clip', 'is')} not in the official lists, so in no subset"
        )
    if left_out.unknown_names:
        unknown = pluralize(len(left_out.unknown_names), "name")
        info(
            f"group files: {unknown} without a clip: {first_of([*map(repr, left_out.unknown_names)], _SHOWN)}"
        )
    for note in (*_absent(result), *filter(None, [uneven_folds(result.clips)])):
        info(note)
    if result.missing_labels:
        info(f"labels without a clip: {', '.join(result.missing_labels)}")


def _absent(result: SplitResult) -> Iterator[str]:
    """Name the classes that have clips, but none to train on, to choose by, or to test on."""
    from dancecli.dataset.split.split import absent_classes

    for subset, labels in absent_classes(result.clips, result.labels).items():
        shown = first_of(labels, _SHOWN)
        count = pluralize(len(labels), "class")
        if _fold_sizes(result):
            yield f"{count} with all clips in one fold, so never one to train on: {shown}"
        else:
            yield f"{count} without a clip in {subset}: {shown}"


def _drift_counts(drift: Drift) -> dict[str, int]:
    return {
        "missing": len(drift.missing),
        "changed": len(drift.changed),
        "unlisted": len(drift.unlisted),
        "removed": sum(drift.removed.values()),
    }


def _diff(workspace: Workspace, first: str, second: str, *, json_output: bool) -> None:
    from dancecli.dataset.split.diff import diff_splits

    found = diff_splits(workspace, first, second)
    if json_output:
        print_json(asdict(found))
        return
    print_result(f"{found.num_same} clips are the same in {first} and {second}")
    rows = list(_differences(found))
    if rows:
        print_result(table(("clip", "difference"), rows[:_SHOWN], align="left"))
    if len(rows) > _SHOWN:
        print_result(f"and {len(rows) - _SHOWN} more: add --json")


def _differences(found: SplitDiff) -> list[tuple[str, str]]:
    rows = [(i, f"only in {found.first}: {s}") for s, ids in found.only_first.items() for i in ids]
    rows += ((i, f"only in {found.second}: {s}") for s, ids in found.only_second.items() for i in ids)
    rows += ((i, f"moved from {one} to {other}") for i, one, other in found.moved)
    rows += ((i, f"label {one!r} is {other!r}") for i, one, other in found.relabeled)
    return rows + [(i, "another checksum") for i in found.changed]
