"""`dance tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, phases, print_json, print_result, table
from dancecli.cli.options import (
    DryRunOption,
    FreezeOption,
    JsonOption,
    PretrainOption,
    SplitOption,
    WeightsOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from dancecli.model.tuning.plan import TunePlan
    from dancecli.report.tuning import Tuning

_SHOWN = 20


def command(
    workspace_dir: WorkspaceOption = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Points to try; the recipe as it is comes on top, as a baseline.")
    ] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part, a trial.")] = 10,
    space: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="What to search: a TOML file, a table a key of the recipe with its bounds.",
        ),
    ] = "paper",
    pretrain: PretrainOption = "inception",
    split: SplitOption = None,
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="All that is not searched.")] = "default",
    freeze: FreezeOption = None,
    weights: WeightsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the points, and of every trial's training.")] = 0,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the study. [default: MODEL-SPLIT]", show_default=False),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database that several machines share. [default: studies/NAME.db in the workspace]",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Search for the recipe with the best validation accuracy.

    The same command goes on with a study that was stopped, or that is to have more trials, and works
    beside others on the same one. Writes the best trial as a recipe, and a page.

    Example: `dance tune --split full --trials 20`
    """
    from dancecli.model.tuning.plan import TuneSettings, plan_study
    from dancecli.model.tuning.tune import tune
    from dancecli.report.tuning import tuning

    workspace = open_workspace(workspace_dir, create=False)
    settings = TuneSettings(
        trials=trials,
        epochs=epochs,
        space=space,
        pretrain=pretrain,
        split=split,
        recipe=recipe,
        freeze=freeze,
        weights=weights,
        seed=seed,
        name=name,
        storage=storage,
    )
    if dry_run:
        _show_plan(plan_study(workspace, settings), json_output)
        return
    with phases() as on_progress:
        result = tune(workspace, settings, on_progress, info)
    found = tuning(workspace, result.name)
    if json_output:
        print_json({**result.record, "choice": found.document, "page": str(found.page)})
    else:
        _show(found)
    if not result.trained:
        info(f"study {result.name} has its {trials} trials already; nothing was trained")
    if result.elsewhere:
        are = "trial is" if result.elsewhere == 1 else "trials are"
        info(f"{result.elsewhere} {are} being trained elsewhere")


def _show(found: Tuning) -> None:
    rows = []
    for trial in found.trials[:_SHOWN]:
        params = [_value(trial.params[key]) for key in found.keys]
        right = f"{trial.top1.k}/{trial.top1.n}" if trial.top1 else ""
        rate = f"{100 * trial.top1.k / trial.top1.n:.1f}" if trial.top1 else ""
        rows.append((trial.number, *params, right, rate, trial.interval_text, trial.status))
    print_result(table(("trial", *found.keys, "right", "%", "95 %", ""), rows))
    if len(found.trials) > _SHOWN:
        print_result(f"and {len(found.trials) - _SHOWN} more: {found.folder / 'trials.csv'}")
    for line in found.lines:
        print_result(line)
    print_result(str(found.page))
    if found.command:
        print_result(f"next: {found.command}")


def _show_plan(plan: TunePlan, json_output: bool) -> None:
    document: dict[str, Any] = {
        "study": plan.name,
        "pretrain": plan.base.entry.name,
        "split": plan.base.data.name,
        "counts": plan.base.data.counts,
        "trials": plan.settings.trials,
        "epochs": plan.base.recipe.epochs,
        "space": plan.space.table(),
        "together": not plan.alone,
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
