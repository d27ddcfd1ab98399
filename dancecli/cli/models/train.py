"""`dance train`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import (
    info,
    open_workspace,
    print_json,
    print_result,
    reporting_phases,
    table,
)
from dancecli.cli.models.finetune_options import GpusOption
from dancecli.cli.options import (
    BatchOption,
    DryRunOption,
    EpochsOption,
    FlowMethodOption,
    JsonOption,
    LearningRateOption,
    RecipeOption,
    SplitOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from dancecli.model.runs.finetune import Plan
    from dancecli.model.runs.two_stream_plan import TrainSettings
    from dancecli.storage.runs import RunResult
    from dancecli.storage.workspace import Workspace


def command(
    workspace_dir: WorkspaceOption = None,
    stream: Annotated[
        str, typer.Option(metavar="rgb|flow|both", help="Streams to train; both also fuses their scores.")
    ] = "both",
    init: Annotated[
        str,
        typer.Option(
            metavar="none|imagenet|kinetics",
            help="Initial weights of the networks; none trains from scratch.",
        ),
    ] = "none",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Weights file to use instead of the download of --init; may be repeated. An RGB file "
            "initializes both streams, a flow file the flow stream.",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = None,
    recipe: RecipeOption = "paper-two-stream",
    epochs: EpochsOption = None,
    lr: LearningRateOption = None,
    batch: BatchOption = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set any recipe key; may be repeated.", show_default=False
        ),
    ] = None,
    flow_method: FlowMethodOption = "dis",
    gpus: GpusOption = 1,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed for initialization, shuffling, augmentation and dropout.")
    ] = 0,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run; both creates NAME-rgb, NAME-flow and NAME. [default: two-stream-SPLIT-N]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume interrupted streams: --name, or the latest.")
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Train the two-stream Inception I3D from scratch or from pre-trained weights.

    One network sees frames, one the optical flow computed by dance flow; both are evaluated, and
    their scores are averaged. Each stream is a run like that of dance finetune, and so is their
    fusion. The same command, or --resume, resumes after an interruption.

    Example: `dance train --stream both --init imagenet`
    """
    from dancecli.model.runs.two_stream import train
    from dancecli.model.runs.two_stream_plan import TrainSettings, plan_streams
    from dancecli.model.training.distributed import get_rank_info

    here = get_rank_info()
    workspace = open_workspace(workspace_dir, create=False)
    settings = TrainSettings(
        stream=stream,
        init=init,
        weights=tuple(weights or ()),
        split=split,
        recipe=recipe,
        name=name,
        seed=seed,
        epochs=epochs,
        lr=lr,
        batch=batch,
        changes=tuple(changes or ()),
        flow_method=flow_method,
        processes=max(gpus, here.size),
        resume=resume,
    )
    if dry_run:
        _show_plans(plan_streams(workspace, settings), json_output)
        return
    if gpus > 1 and here.size == 1:
        raise typer.Exit(_launch(workspace, settings))
    if not here.first:
        train(workspace, settings)
        return
    with reporting_phases() as reporter:
        result = train(workspace, settings, reporter)
    if json_output:
        print_json(result.members)
    else:
        _show(result)
    if not result.fresh:
        info(f"run {result.name} is already complete")


def _launch(workspace: Workspace, settings: TrainSettings) -> int:
    """Check the plans once, and start the processes under one name."""
    from dancecli.model.runs.two_stream_plan import plan_streams
    from dancecli.model.training.distributed import launch, refuse_too_many

    plans = plan_streams(workspace, settings)
    refuse_too_many(settings.processes)
    first = next(iter(plans.values()))
    whole = first.settings.two_stream
    name = whole["name"] if whole else first.name
    resumes = any(plan.settings.resume for plan in plans.values()) and not settings.resume
    return launch(settings.processes, [*sys.argv[1:], *(["--resume"] if resumes else []), "--name", name])


def _show(result: RunResult) -> None:
    for subset in ("val", "test"):
        found = {name: record["results"][subset] for name, record in result.members.items()}
        rows = [
            (
                name,
                result.members[name]["name"],
                scores["n"],
                *(_share(scores, key) for key in ("top1", "top5")),
            )
            for name, scores in found.items()
            if scores
        ]
        if rows:
            print_result(table((subset, "run", "clips", "top-1", "top-5"), rows))
    print_result(f"test views: {next(iter(result.members.values()))['views']['test']}")
    print_result(f"next: dance report --run {result.name}")
    if "both" in result.members:
        rgb = result.members["rgb"]["name"]
        print_result(f"      dance compare {rgb} {result.name}   # does the fusion help?")


def _show_plans(plans: dict[str, Plan], json_output: bool) -> None:
    document: dict[str, dict[str, Any]] = {
        stream: {
            "run": plan.name,
            "split": plan.data.name,
            "counts": plan.data.counts,
            "weights": plan.settings.weights,
            "flow": plan.base.flow or None,
            "freeze": plan.recipe.freeze,
            "cache": plan.cached,
            "epochs": plan.recipe.epochs,
            "batch": plan.recipe.batch,
            "lr": plan.recipe.scaled_lr(),
            "resume": plan.settings.resume,
            "notes": list(plan.notes),
        }
        for stream, plan in plans.items()
    }
    if json_output:
        print_json(document)
        return
    keys = [key for key in next(iter(document.values())) if key != "notes"]
    print_result(
        table(("", *document), [(key, *(facts[key] for facts in document.values())) for key in keys])
    )
    for note in dict.fromkeys(note for plan in plans.values() for note in plan.notes):
        info(note)


def _share(scores: dict[str, int], key: str) -> str:
    return f"{scores[key]}/{scores['n']} ({100 * scores[key] / scores['n']:.1f} %)"
