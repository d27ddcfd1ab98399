"""`dance suspects`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import JsonOption, WorkspaceOption

_SHOWN = 20


def command(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Run whose predictions are compared with the labels. [default: classifiers on the "
            "stored features, or the run that scored the most clips if it scored more than have features]",
            show_default=False,
        ),
    ] = None,
    workspace_dir: WorkspaceOption = None,
    max_false: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Largest share of right labels among the clips listed for their label, at 90 % confidence.",
        ),
    ] = 0.2,
    accept: Annotated[
        bool,
        typer.Option(
            help="Relabel the clips listed for their label as suggested, without looking at them; "
            "dance corrections takes it back."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """List clips to look at again: wrong labels, disagreeing duplicates, outliers, no picture, no dancer.

    Wrong labels are found by the scores of a model that was not trained on the clip: of classifiers on the
    features that finetune and features store, or of a run, best a cross-validation, which scores every
    clip. The list is also a queue in dance app, where a key accepts the suggestion and another confirms
    the label. Exits with 3 if there are suspects.

    Example: `dance suspects --max-false 0.1`, then `dance app`
    """
    from dancecli.core.text import pluralize
    from dancecli.suspects import SuspectSettings, accept_suspects, describe, find_suspects

    workspace = open_workspace(workspace_dir, create=False)
    result = find_suspects(workspace, SuspectSettings(run, max_false))
    accepted = accept_suspects(workspace, result, "dance suspects") if accept else 0
    if json_output:
        print_json(asdict(result) | {"accepted": accepted})
    else:
        rows = [
            (one.clip_id, one.kind, one.label, one.suggested, f"{100 * one.probability:.0f}")
            for one in result.suspects[:_SHOWN]
        ]
        if rows:
            print_result(table(("clip", "found by", "label", "suggested", "wrong, %"), rows, align="left"))
        if more := len(result.suspects) - len(rows):
            print_result(f"and {more} more: dance suspects --json, or look at all in dance app")
    for line in describe(result, max_false):
        info(line)
    if accept:
        again = "run dance split again to use them, with --name NEW if a run was made with the split"
        info(f"{pluralize(accepted, 'clip')} relabeled; {again}")
    if result.suspects and not accept:
        raise typer.Exit(3)
