"""`dance features`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli.console import open_workspace, print_json, print_result, reporting_phases
from dancecli.cli.models.finetune_options import GpusOption
from dancecli.cli.models.processes import check_gpus
from dancecli.cli.options import (
    DecoderOption,
    JsonOption,
    PretrainOption,
    RecipeOption,
    RunSplitOption,
    WeightsOption,
    WorkspaceOption,
)
from dancecli.core.text import pluralize


def command(
    workspace_dir: WorkspaceOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Use the backbone, weights and views of a run, instead of those that follow.",
            show_default=False,
        ),
    ] = None,
    pretrain: PretrainOption = "inception",
    split: RunSplitOption = None,
    recipe: RecipeOption = "default",
    weights: WeightsOption = None,
    form: Annotated[
        str,
        typer.Option("--format", metavar="parquet|npy", help="Format of the file."),
    ] = "parquet",
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write. [default: exports/features-MODEL-SPLIT.FORMAT in the workspace]",
            show_default=False,
        ),
    ] = None,
    gpus: GpusOption = 1,
    decoder: DecoderOption = "auto",
    json_output: JsonOption = False,
) -> None:
    """Export the features that a frozen backbone gives for the clips of a split.

    Clips are seen as in evaluation. Features that a run has cached are not computed again. Parquet has
    one row per clip (clip_id, subset, label, features: the mean over its views); NPY is an array of
    clips x views x values, with the clips of its rows in a CSV file beside it.

    Example: `dance features --pretrain nonlocal --format npy`
    """
    from dancecli.model.runs.features import FeatureForm, FeatureSettings, export_features

    if form not in list(FeatureForm):
        raise typer.BadParameter(f"{form!r} is not one of {', '.join(FeatureForm)}", param_hint="--format")
    workspace = open_workspace(workspace_dir, create=False)
    settings = FeatureSettings(
        run=run,
        pretrain=pretrain,
        weights=weights,
        recipe=recipe,
        split=split,
        form=FeatureForm(form),
        to=to,
        processes=gpus,
        decoder=decoder,
    )
    check_gpus(gpus)
    with reporting_phases() as reporter:
        found = export_features(workspace, settings, reporter)
    if json_output:
        print_json({**asdict(found), "file": str(found.file)})
        return
    views, values = found.shape
    print_result(
        f"{pluralize(found.clips, 'clip')} of split {found.split}: {values} values, {views} views "
        f"({found.views})"
    )
    print_result(str(found.file))
