"""`dance train`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import (
    info,
    open_workspace,
    print_json,
    print_result,
    print_scores,
    reporting_phases,
    shares,
    table,
)
from dancecli.cli.models.finetune_options import GpusOption
from dancecli.cli.models.processes import check_gpus
from dancecli.cli.options import (
    BatchOption,
    DryRunOption,
    EngineOption,
    EpochsOption,
    FlowMethodOption,
    JsonOption,
    LearningRateOption,
    RecipeOption,
    SplitOption,
    WorkersOption,
    WorkspaceOption,
)
from dancecli.core.errors import UsageError
from dancecli.core.text import pluralize

if TYPE_CHECKING:
    from dancecli.dataset.derived.trajectories import TrajectoriesSettings
    from dancecli.model.runs.finetune import Plan
    from dancecli.model.runs.trajectories import TrajectoryModel
    from dancecli.model.runs.two_stream_plan import TrainSettings
    from dancecli.storage.runs import RunResult
    from dancecli.storage.workspace import Workspace


# Options of the one kind of model, with their defaults; the other refuses them.
_OF_NETWORKS = {
    "stream": "both",
    "init": "none",
    "weights": None,
    "recipe": "paper-two-stream",
    "epochs": None,
    "lr": None,
    "batch": None,
    "gpus": 1,
    "resume": False,
}
_OF_TRAJECTORIES = {"workers": 0, "engine": "local"}
I3D, TRACKED = "i3d", ("idt", "bag")


def command(
    workspace_dir: WorkspaceOption = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="i3d|idt|bag",
            help="Model to train: the two-stream Inception I3D; improved dense trajectories with Fisher "
            "vectors and a linear SVM; or a dense bag of features, with a chi-square kernel.",
        ),
    ] = "i3d",
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
            "--set",
            metavar="KEY=VALUE",
            help="Set any recipe key; may be repeated. Of idt: gaussians=N, of bag: words=N. [default: what "
            "the number of training clips allows, up to the published 256 and 4000]",
            show_default=False,
        ),
    ] = None,
    flow_method: FlowMethodOption = "dis",
    workers: WorkersOption = 0,
    engine: EngineOption = "local",
    gpus: GpusOption = 1,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed for initialization, shuffling, augmentation and dropout.")
    ] = 0,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run; both creates NAME-rgb, NAME-flow and NAME. [default: two-stream-SPLIT-N, "
            "or MODEL-SPLIT-N]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume interrupted streams: --name, or the latest.")
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Train the two-stream Inception I3D, or a model of dense trajectories.

    Of the I3D, one network sees frames, one the optical flow computed by dance flow; both are
    evaluated, and their scores are averaged. Each stream is a run like that of dance finetune, and so
    is their fusion. For idt and bag, points are tracked through the clips first, and stored; where
    clips have poses, people are left out of the camera's motion. The same command resumes after an
    interruption.

    Example: `dance train --stream both --init imagenet`

    Example: `dance train --model idt`
    """
    _refuse_foreign_options(model, dict(locals()))
    workspace = open_workspace(workspace_dir, create=False)
    if model in TRACKED:
        from dancecli.dataset.derived.trajectories import TrajectoriesSettings
        from dancecli.model.runs.trajectories import TrajectoryModel, check_training, size_of

        wanted = TrajectoryModel(model, split, name, size_of(model, changes or ()), seed)
        wanted = replace(wanted, split=check_training(workspace, wanted))
        tracking = TrajectoriesSettings(wanted.split, flow_method, workers, dry_run, engine)
        _train_on_trajectories(workspace, tracking, wanted, json_output=json_output)
        return
    from dancecli.model.runs.two_stream import train
    from dancecli.model.runs.two_stream_plan import TrainSettings, plan_streams
    from dancecli.model.training.distributed import get_rank_info

    here = get_rank_info()
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


def _refuse_foreign_options(model: str, given: Mapping[str, Any]) -> None:
    """Refuse an option of the other kind of model."""
    if model not in (I3D, *TRACKED):
        raise UsageError(f"--model {model!r} is not a model", f"known: {', '.join((I3D, *TRACKED))}")
    foreign, of = (_OF_TRAJECTORIES, "idt and bag") if model == I3D else (_OF_NETWORKS, I3D)
    for option, default in foreign.items():
        if given[option] != default:
            raise UsageError(f"--{option} is for --model {of}", f"omit it, also in dance.toml, for {model}")


def _train_on_trajectories(
    workspace: Workspace, tracking: TrajectoriesSettings, wanted: TrajectoryModel, *, json_output: bool
) -> None:
    """Track what is not tracked yet, train, and print what came of it."""
    from dancecli.dataset.derived.trajectories import trajectories
    from dancecli.model.runs.trajectories import train_on_trajectories

    with reporting_phases() as reporter:
        tracked = trajectories(workspace, tracking, reporter.named("trajectories"))
        if tracking.dry_run and tracked.made:
            plan = {"model": wanted.kind, "clips": tracked.num_clips, "to_track": tracked.made}
            if json_output:
                print_json(plan)
            else:
                counts = f"{tracked.made} of {tracked.num_clips} clips"
                print_result(f"{counts} would be tracked, then {wanted.kind} trained")
            return
        result = train_on_trajectories(workspace, wanted, reporter, dry_run=tracking.dry_run)
    for note in result.notes:
        info(note)
    if json_output:
        print_json(result.record)
    elif tracking.dry_run:
        print_result(f"would train run {result.name}: {result.record}")
    else:
        print_result(
            f"{pluralize(tracked.num_clips, 'clip')}: {tracked.made} tracked now, "
            f"{tracked.with_poses} with people left "
            f"out of the camera's motion · {tracked.stored:,} trajectories, {tracked.num_bytes / 1e6:.1f} MB"
        )
        print_scores(result.record)
        print_result(f"next: dance report --run {result.name}, or dance board")
    if not result.fresh:
        info(f"run {result.name} is already complete")


def _launch(workspace: Workspace, settings: TrainSettings) -> int:
    """Check the plans once, and start the processes under one name."""
    from dancecli.model.runs.two_stream_plan import plan_streams
    from dancecli.model.training.distributed import launch

    plans = plan_streams(workspace, settings)
    check_gpus(settings.processes)
    first = next(iter(plans.values()))
    whole = first.settings.two_stream
    name = whole["name"] if whole else first.name
    resumes = any(plan.settings.resume for plan in plans.values()) and not settings.resume
    return launch(settings.processes, [*sys.argv[1:], *(["--resume"] if resumes else []), "--name", name])


def _show(result: RunResult) -> None:
    kinds = shares(len(next(iter(result.members.values()))["labels"]))
    for subset in ("val", "test"):
        found = {name: record["results"][subset] for name, record in result.members.items()}
        rows = [
            (
                name,
                result.members[name]["name"],
                scores["n"],
                *(_share(scores, key) for key in kinds),
            )
            for name, scores in found.items()
            if scores
        ]
        if rows:
            print_result(table((subset, "run", "clips", *kinds.values()), rows))
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
