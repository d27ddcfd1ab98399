"""`dance finetune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import emit, open_workspace, phases, show, show_scores, talk
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.model.train import FinetuneResult, Plan


def command(
    workspace: WorkspaceOption = None,
    pretrain: Annotated[
        str, typer.Option(metavar="NAME|CONFIG", help="Model of the zoo, or the path of an MMAction2 config.")
    ] = "inception",
    split: SplitOption = None,
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="How to train; the flags below win over it.")
    ] = "default",
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Last frozen stage: none, stem, 1, 2, 3, or 4 for all but the head."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training part.")] = None,
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate, as it is for this batch.", show_default=False)
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips a step.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the fresh head, the order, views and dropout.")] = 0,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|none",
            help="A state dict or MMAction2 checkpoint to start from, or none. [default: the model's own]",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache",
            help="Compute the frozen part once and train from that. [default: from --freeze 3 on]",
            show_default=False,
        ),
    ] = None,
    views: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Augmented views of a training clip, made in turn.")
    ] = None,
    num_clips: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Clips in time that are averaged in evaluation.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the run. [default: MODEL-SPLIT-N]", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a stopped run: --name, or the one made last.")
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Fine-tune a pre-trained model on a split.

    Trains through MMAction2, evaluates on val and test, and keeps config, metrics, checkpoints and
    predictions in runs/NAME. Ctrl-C stops it; --resume goes on after the last whole epoch.

    Example: `dance finetune --pretrain nonlocal --split full --freeze 4`
    """
    from dancecli.model.train import FinetuneSettings, finetune, make_plan

    space = open_workspace(workspace, create=False)
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
        num_clips=num_clips,
        cache=cache,
        resume=resume,
    )
    if dry_run:
        _show_plan(make_plan(space, settings), json_output)
        return
    with phases() as on_progress:
        result = finetune(space, settings, on_progress, talk)
    if json_output:
        emit(result.record)
    else:
        _show(result)
    if not result.fresh:
        talk(f"run {result.name} was done already; nothing ran")


def _show(result: FinetuneResult) -> None:
    record = result.record
    show_scores(record)
    chosen = record["checkpoint"]
    show(f"checkpoint: {chosen['name']}.pth, of epoch {chosen['epoch']} of {record['optim']['epochs']}")
    show(f"next: dance report --run {result.name}")


def _show_plan(plan: Plan, json_output: bool) -> None:
    recipe = plan.recipe
    document: dict[str, Any] = {
        "run": plan.name,
        "pretrain": plan.entry.name,
        "split": plan.data.name,
        "counts": plan.data.counts,
        "freeze": recipe.freeze,
        "cache": plan.cached,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "lr": recipe.scaled_lr(),
        "notes": list(plan.notes),
    }
    if json_output:
        emit(document)
        return
    for key, value in document.items():
        if key != "notes":
            show(f"{key}: {value}")
    for note in plan.notes:
        talk(note)
