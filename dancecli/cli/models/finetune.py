"""`dance finetune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, phases, print_json, print_result, print_scores, table
from dancecli.cli.options import (
    BatchOption,
    DryRunOption,
    EpochsOption,
    FeatureEngineOption,
    FlowMethodOption,
    FreezeOption,
    JsonOption,
    LearningRateOption,
    PretrainOption,
    RecipeOption,
    SplitOption,
    WeightsOption,
    WorkspaceOption,
)
from dancecli.core.errors import UsageError

if TYPE_CHECKING:
    from dancecli.model.runs.finetune import FinetuneResult, FinetuneSettings, Plan
    from dancecli.model.runs.seeds import GroupResult
    from dancecli.storage.workspace import Workspace


def command(
    workspace_dir: WorkspaceOption = None,
    pretrain: PretrainOption = "inception",
    split: SplitOption = None,
    recipe: RecipeOption = "default",
    freeze: FreezeOption = None,
    epochs: EpochsOption = None,
    lr: LearningRateOption = None,
    batch: BatchOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the fresh head, the order, views and dropout.")] = 0,
    weights: WeightsOption = None,
    head_init: Annotated[
        str,
        typer.Option(
            metavar="random|pretrained",
            help="Start the classes that the weights' own head knows from their old rows.",
        ),
    ] = "random",
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache",
            help="Compute the frozen part once and train from that. [default: from --freeze 3 on]",
            show_default=False,
        ),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="OPS",
            help="Augment as clips are read, without files: chains as dance augment has them, such as "
            "hflip,jitter,hflip+noise. A training view is the clip as it is or one of them, equally likely.",
            show_default=False,
        ),
    ] = None,
    views: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Augmented views of a training clip, made in turn.")
    ] = None,
    flow_method: FlowMethodOption = "dis",
    num_clips: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Clips in time that are averaged in evaluation.")
    ] = None,
    amp: Annotated[
        bool | None,
        typer.Option(
            "--amp/--no-amp",
            help="Training steps in half precision: bfloat16 on a CPU, float16 on a GPU. [default: no]",
            show_default=False,
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other key of the recipe, such as ema=0.99; may be repeated. The default recipe's file "
            "lists them.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Train with the seeds 0 to N-1, and tell mean and spread. The same command goes on where "
            "it was stopped.",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Share each batch among N processes, one a GPU, or of the CPU where there is none.",
        ),
    ] = 1,
    preflight: Annotated[
        bool,
        typer.Option(
            "--preflight/--no-preflight",
            help="Learn one batch by heart first, and tell how long the run will take.",
        ),
    ] = True,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run, or of the group of --seeds. [default: MODEL-SPLIT-N]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a stopped run: --name, or the one made last.")
    ] = False,
    engine: FeatureEngineOption = "local",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Fine-tune a pre-trained model on a split.

    Trains through MMAction2, evaluates on val and test, and keeps config, metrics, checkpoints and
    predictions in runs/NAME. Ctrl-C stops it; the same command, or --resume, goes on after the last
    whole epoch.

    Example: `dance finetune --pretrain nonlocal --split full --freeze 4`
    """
    from dancecli.model.runs.finetune import FinetuneSettings, finetune
    from dancecli.model.runs.resume import planned
    from dancecli.model.runs.seeds import finetune_seeds, plan_group
    from dancecli.model.training.distributed import get_rank_info

    if seeds and (resume or seed):
        other = "--resume" if resume else "--seed"
        raise UsageError(
            f"--seeds and {other} exclude each other",
            "the same command goes on by itself" if resume else "--seeds takes 0 and those that follow",
        )
    here = get_rank_info()
    if seeds and max(gpus, here.size) > 1:
        raise UsageError(
            "--seeds trains in one process", "leave out --gpus, or give each seed a run of its own"
        )
    workspace = open_workspace(workspace_dir, create=False)
    settings = FinetuneSettings(
        pretrain=pretrain,
        split=split,
        recipe=recipe,
        name=name,
        weights=weights,
        seed=seed,
        freeze=freeze,
        epochs=epochs,
        lr=lr,
        batch=batch,
        views=views,
        flow_method=flow_method,
        num_clips=num_clips,
        augment=augment,
        amp=amp,
        changes=tuple(changes or ()),
        cache=cache,
        head_init=head_init,
        processes=max(gpus, here.size),
        resume=resume,
        preflight=preflight,
        engine=engine,
    )
    if dry_run:
        _show_plan(
            plan_group(workspace, settings) if seeds else planned(workspace, settings), json_output, seeds
        )
        return
    if seeds:
        with phases() as on_progress:
            group = finetune_seeds(workspace, settings, seeds, on_progress, info)
        if json_output:
            print_json(group.document)
        else:
            _show_group(group)
        return
    if here.size > 1 and not here.first:
        finetune(workspace, settings)
        return
    if gpus > 1 and here.size == 1:
        raise typer.Exit(_launch(workspace, settings))
    with phases() as on_progress:
        result = finetune(workspace, settings, on_progress, info)
    if json_output:
        print_json(result.record)
    else:
        _show(result)
    if not result.fresh:
        info(f"run {result.name} was done already; nothing ran")


def _launch(workspace: Workspace, settings: FinetuneSettings) -> int:
    """Check what can be checked once, and start the processes under one name."""
    import sys

    from dancecli.model.runs.resume import planned
    from dancecli.model.training.distributed import launch, refuse_too_many

    plan = planned(workspace, settings)
    refuse_too_many(settings.processes)
    go_on = ["--resume"] if plan.settings.resume and not settings.resume else []
    return launch(settings.processes, [*sys.argv[1:], *go_on, "--name", plan.name])


def _show(result: FinetuneResult) -> None:
    record = result.record
    print_scores(record)
    chosen = record["checkpoint"]
    of = record["optim"]["epochs"]
    early = "" if chosen["epochs_run"] == of else f" (ended after {chosen['epochs_run']}: val rose no more)"
    print_result(f"checkpoint: {chosen['name']}.pth, of epoch {chosen['epoch']} of {of}{early}")
    print_result(f"next: dance report --run {result.name}")


def _show_group(group: GroupResult) -> None:
    found = group.document
    rows: list[tuple[object, ...]] = []
    for part, result in found["results"].items():
        for key, title in (("top1", "top-1"), ("top5", "top-5")) if result else ():
            at = result[key]
            counts = ", ".join(map(str, at["k"]))
            span = f"{100 * at['min']:.1f}-{100 * at['max']:.1f} %"
            mean = f"{100 * at['mean']:.1f} ± {100 * at['sd']:.1f} %"
            rows.append((f"{part} {title}", result["n"], mean, span, counts))
    print_result(f"group {group.name}: {len(group.records)} seeds, {found['views']['test']}")
    print_result(table(("part", "clips", "mean ± deviation", "range", "hits of each"), rows))
    print_result(f"next: dance report --run {group.name}")
    info(f"{group.num_fresh} of {len(group.records)} runs were trained now")


def _show_plan(plan: Plan, json_output: bool, seeds: int | None) -> None:
    recipe = plan.recipe
    document: dict[str, Any] = {
        **({"group": plan.name, "seeds": seeds} if seeds else {"run": plan.name}),
        "pretrain": plan.entry.name,
        "split": plan.data.name,
        "counts": plan.data.counts,
        "freeze": recipe.freeze,
        "cache": plan.cached,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        **({"accumulate": recipe.accumulate} if recipe.accumulate > 1 else {}),
        "lr": recipe.scaled_lr(),
        "notes": list(plan.notes),
    }
    if json_output:
        print_json(document)
        return
    for key, value in document.items():
        if key != "notes":
            print_result(f"{key}: {value}")
    for note in plan.notes:
        info(note)
