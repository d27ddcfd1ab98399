"""`dance tune`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting_phases, table
from dancecli.cli.models.finetune_options import (
    AmpOption,
    AugmentOption,
    CacheOption,
    CompileOption,
    HeadInitOption,
    NumClipsOption,
    SetOption,
    ViewsOption,
)
from dancecli.cli.models.processes import check_gpus
from dancecli.cli.options import (
    BatchOption,
    DecoderOption,
    DryRunOption,
    FeatureEngineOption,
    FlowMethodOption,
    FreezeOption,
    JsonOption,
    LearningRateOption,
    PretrainOption,
    SplitOption,
    WeightsOption,
    WorkspaceOption,
)
from dancecli.core.text import agreeing, pluralize

if TYPE_CHECKING:
    from dancecli.model.tuning.plan import TunePlan
    from dancecli.report.tuning import Tuning

_SHOWN = 20


def command(
    workspace_dir: WorkspaceOption = None,
    trials: Annotated[
        int,
        typer.Option(min=1, help="Number of trials; the default configuration comes on top, as a baseline."),
    ] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs per trial.")] = 10,
    space: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Search space: a name, or a TOML file with one table of bounds per recipe key.",
        ),
    ] = "paper",
    pretrain: PretrainOption = "inception",
    split: SplitOption = None,
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Recipe for all keys that are not searched.")
    ] = "default",
    freeze: FreezeOption = None,
    lr: LearningRateOption = None,
    batch: BatchOption = None,
    weights: WeightsOption = None,
    head_init: HeadInitOption = None,
    cache: CacheOption = None,
    augment: AugmentOption = None,
    views: ViewsOption = None,
    flow_method: FlowMethodOption = "dis",
    num_clips: NumClipsOption = None,
    amp: AmpOption = None,
    changes: SetOption = None,
    engine: FeatureEngineOption = "local",
    compiled: CompileOption = False,
    decoder: DecoderOption = "auto",
    gpus: Annotated[
        int, typer.Option(min=1, metavar="N", help="Run trials in N processes at once, one per GPU.")
    ] = 1,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of the sampler and of every trial's training.")
    ] = 0,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the study. [default: MODEL-SPLIT]", show_default=False),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database URL, to share a study between machines. [default: studies/NAME.db of the "
            "workspace]",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Search for the recipe with the best validation accuracy.

    The same command resumes an interrupted study, extends it with more --trials, and can run several
    times in parallel. Writes the best trial as a recipe, and a page.

    Example: `dance tune --split full --trials 20`
    """
    from dancecli.model.runs.plan import Execution
    from dancecli.model.tuning.plan import TuneSettings, plan_study
    from dancecli.model.tuning.tune import tune
    from dancecli.report.tuning import tuning
    from dancecli.storage.runs import read_study

    workspace = open_workspace(workspace_dir, create=False)
    settings = TuneSettings(
        trials=trials,
        epochs=epochs,
        space=space,
        pretrain=pretrain,
        split=split,
        recipe=recipe,
        freeze=freeze,
        lr=lr,
        batch=batch,
        weights=weights,
        head_init=head_init,
        augment=augment,
        views=views,
        flow_method=flow_method,
        num_clips=num_clips,
        amp=amp,
        changes=tuple(changes or ()),
        execution=Execution(cache=cache, engine=engine, compiled=compiled, decoder=decoder),
        seed=seed,
        name=name,
        storage=storage,
    )
    if dry_run:
        _show_plan(plan_study(workspace, settings), json_output)
        return
    with _others(gpus), reporting_phases() as reporter:
        result = tune(workspace, settings, reporter)
    # What the other processes have added is in the files.
    found, record = tuning(workspace, result.name), read_study(workspace, result.name)
    if json_output:
        print_json({**record, "choice": found.document, "page": str(found.page)})
    else:
        _show(found)
    if not result.trained:
        info(f"study {result.name} already has {pluralize(trials, 'trial')}; nothing was trained")
    if elsewhere := sum(trial["state"] == "running" for trial in record["trials"]):
        info(f"{agreeing(elsewhere, 'trial', 'is')} still training in other processes")


@contextmanager
def _others(gpus: int) -> Iterator[None]:
    """Run this command in further processes, which share the study; wait for them, and say what failed."""
    if gpus == 1:
        yield
        return
    from dancecli.model.training.distributed import launch_beside

    check_gpus(gpus)
    others = launch_beside(gpus, [*sys.argv[1:], "--gpus", "1"])
    try:
        yield
    finally:
        for number, other in enumerate(others, 2):
            if lines := other.wait():
                info(f"process {number} of {gpus} ended early, and left its trials to the others: {lines}")


def _show(found: Tuning) -> None:
    rows = []
    for trial in found.trials[:_SHOWN]:
        params = [_value(trial.params[key]) for key in found.keys]
        right = f"{trial.top1.k}/{trial.top1.n}" if trial.top1 else ""
        rate = f"{100 * trial.top1.k / trial.top1.n:.1f}" if trial.top1 else ""
        rows.append((trial.number, *params, right, rate, trial.interval_text, trial.status))
    print_result(table(("trial", *found.keys, "correct", "%", "95 % CI", ""), rows))
    if len(found.trials) > _SHOWN:
        print_result(f"and {len(found.trials) - _SHOWN} more: {found.folder / 'trials.csv'}")
    for line in found.lines:
        print_result(line)
    print_result(str(found.page))
    if found.command:
        print_result(f"next: {found.command}")
    if found.solved:
        print_result(f"to compare it with the solved head: {found.solved}, then dance compare")


def _show_plan(plan: TunePlan, json_output: bool) -> None:
    document: dict[str, Any] = {
        "study": plan.name,
        "pretrain": plan.base.entry.name,
        "split": plan.base.data.name,
        "counts": plan.base.data.counts,
        "trials": plan.settings.trials,
        "epochs": plan.base.recipe.epochs,
        "space": plan.space.table(),
        "batched": not plan.sequential,
        "notes": list(plan.notes),
    }
    if json_output:
        print_json(document)
        return
    for key, value in document.items():
        if key not in ("notes", "space"):
            print_result(f"{key}: {value}")
    for key, bounds in plan.space.table().items():
        print_result(f"{key}: " + ", ".join(f"{word} {value}" for word, value in bounds.items()))
    for note in plan.notes:
        info(note)


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
