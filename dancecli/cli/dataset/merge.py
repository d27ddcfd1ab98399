"""`dance merge`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.dataset.clip_options import AudioOption, LinkOption, outcome_lines
from dancecli.cli.options import DryRunOption, JsonOption, WorkersOption, WorkspaceOption
from dancecli.core.text import pluralize, without_dots
from dancecli.dataset.ingest.merge_rules import TwoLabels, Verdict

if TYPE_CHECKING:
    from dancecli.dataset.ingest.merge import MergeResult

_SHOWN = 5


def command(
    sources: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Lists, folders of frames, or folders of videos.")
    ],
    workspace_dir: WorkspaceOption = None,
    label_map: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE",
            help="Label map: CSV with the columns from, to and reason. [default: the installed map]",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Label file, for a workspace without a label set. [default: the 19 dance styles]",
            show_default=False,
        ),
    ] = None,
    keep_unmapped: Annotated[
        bool, typer.Option("--keep-unmapped", help="Add the classes without a counterpart, after the others.")
    ] = False,
    two_labels: Annotated[
        TwoLabels,
        typer.Option(help="Of videos with two labels, drop all clips, or keep those that do not overlap."),
    ] = TwoLabels.DROP,
    link: LinkOption = False,
    audio: AudioOption = True,
    workers: WorkersOption = 0,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Add the Let's Dance dataset, its classes mapped to our labels.

    Its lists become segments, its frames and videos become clips. What the workspace contains already,
    by id and time or as a near-duplicate, is kept once; each clip that is left out is listed with its
    reason.

    Example: `dance merge letsdance/list.csv letsdance/rgb --dry-run`
    """
    from dancecli.dataset.ingest.importer import ImportOptions
    from dancecli.dataset.ingest.merge import LETS_DANCE_MAP, MergeSettings, merge

    settings = MergeSettings(
        sources=tuple(map(without_dots, sources)),
        label_map=label_map or LETS_DANCE_MAP,
        labels=labels,
        keep_unmapped=keep_unmapped,
        two_labels=two_labels,
        options=ImportOptions(link, audio, workers),
        dry_run=dry_run,
    )
    with reporting("merge") as reporter:
        result = merge(open_workspace(workspace_dir, create=not dry_run), settings, reporter)
    if json_output:
        print_json(_document(result))
    else:
        _show(result, dry_run=dry_run)
    for conflict in result.conflicts[:_SHOWN]:
        info(f"video {conflict.video_id} is {', '.join(conflict.labels)}: {', '.join(conflict.clips)}")
    if len(result.conflicts) > _SHOWN:
        info(f"and {len(result.conflicts) - _SHOWN} more videos with several labels (all of them: --json)")
    if result.refused:
        info(f"{pluralize(len(result.refused), 'row')} refused:")
        for row in result.refused[:_SHOWN]:
            info(f"  {row}")
        if len(result.refused) > _SHOWN:
            info(f"  and {len(result.refused) - _SHOWN} more (all of them: --json)")
    if result.refused or (result.outcomes is not None and not result.outcomes.complete):
        raise typer.Exit(3)


def _show(result: MergeResult, *, dry_run: bool) -> None:
    verdicts = [v for v in Verdict if any(v in counts for counts in result.counts.values())]
    ours = {d.clip.label: d.segment.label for d in result.decisions if d.segment}
    rows = [
        (name, ours.get(name, "-"), *(counts.get(v, 0) for v in verdicts))
        for name, counts in result.counts.items()
    ]
    rows.append(("all", "", *(sum(c.get(v, 0) for c in result.counts.values()) for v in verdicts)))
    print_result(table(("class", "label", *verdicts), rows))
    counts = Counter(decision.verdict.value for decision in result.decisions)
    left_out = [f" + {counts[v]:,} {v}" for v in Verdict if v is not Verdict.IN and counts[v]]
    refused = f" + {len(result.refused):,} refused" if result.refused else ""
    print_result(f"clips given: {result.given:,} = {counts[Verdict.IN]:,} added{''.join(left_out)}{refused}")
    print_result(
        f"labels: {len(result.labels)}" + (f", new: {', '.join(result.added)}" if result.added else "")
    )
    if result.num_shared_videos:
        print_result(
            f"{result.num_shared_videos} videos have clips here already; a split keeps them together"
        )
    if result.guessed_rates:
        print_result(
            f"{result.guessed_rates} clips have a number of frames that fits no usual frame rate: a guess"
        )
    if result.outcomes is not None:
        print_result("\n".join(outcome_lines(result.outcomes)))
    if result.listed is not None:
        labels = f" --labels {result.label_file}" if result.label_file else ""
        print_result(f"to download what has no file yet: dance fetch --annotations {result.listed}{labels}")
    if dry_run:
        print_result("nothing was written (--dry-run)")


def _document(result: MergeResult) -> dict[str, Any]:
    return {
        "labels": result.labels,
        "added": result.added,
        "counts": result.counts,
        "clips": [
            {
                "class": decision.clip.label,
                "clip": decision.clip.name,
                "clip_id": decision.clip_id,
                "label": decision.segment.label if decision.segment else None,
                "verdict": decision.verdict,
                "text": decision.text,
            }
            for decision in result.decisions
        ],
        "conflicts": [asdict(conflict) for conflict in result.conflicts],
        "shared_videos": result.num_shared_videos,
        "guessed_rates": result.guessed_rates,
        "list": str(result.listed) if result.listed else None,
        "label_file": str(result.label_file) if result.label_file else None,
        "given": result.given,
        "refused": [asdict(row) for row in result.refused],
        "outcomes": asdict(result.outcomes) if result.outcomes else None,
    }
