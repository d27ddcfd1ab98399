"""`dance finetune`."""

from __future__ import annotations

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
from dancecli.cli.models.finetune_options import (
    AmpOption,
    AugmentOption,
    CacheOption,
    CompileOption,
    GpusOption,
    HeadInitOption,
    HeadOption,
    NumClipsOption,
    ProtocolOption,
    SetOption,
    ViewsOption,
)
from dancecli.cli.models.processes import check_gpus, refuse_in_one_process
from dancecli.cli.options import (
    BatchOption,
    DecoderOption,
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
from dancecli.core.recipe import ATTENTIVE, KNN, MTEB, PROTOTYPE, SOLVED, TRAINED, Recipe
from dancecli.core.text import pluralize

# Draws of each size of a learning curve.
_DRAWS = 5
# Draws of protocol mteb, each a seed; as published, see `model.training.probes.mteb`.
_MTEB_DRAWS = 10

if TYPE_CHECKING:
    from dancecli.model.runs.finetune import FinetuneSettings, Plan
    from dancecli.model.runs.seeds import GroupResult
    from dancecli.report.statistics.intervals import Estimate
    from dancecli.storage.runs import RunResult
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
    seed: Annotated[
        int,
        typer.Option(min=0, help="Random seed for head initialization, shuffling, augmentation and dropout."),
    ] = 0,
    weights: WeightsOption = None,
    head: HeadOption = None,
    protocol: ProtocolOption = None,
    head_init: HeadInitOption = None,
    cache: CacheOption = None,
    augment: AugmentOption = None,
    views: ViewsOption = None,
    flow_method: FlowMethodOption = "dis",
    input_: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="frames|skeletons",
            help="What a model of RGB frames sees: frames, or the skeletons of dance pose drawn on black.",
        ),
    ] = "frames",
    num_clips: NumClipsOption = None,
    amp: AmpOption = None,
    changes: SetOption = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Train with the seeds 0 to N-1, and report mean and standard deviation. The same command "
            "resumes after an interruption.",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        bool,
        typer.Option(
            "--folds",
            help="Cross-validate on a split of dance split --folds: one model per fold on shared features, "
            "with the predictions of all clips pooled.",
        ),
    ] = False,
    curve: Annotated[
        str | None,
        typer.Option(
            "--learning-curve",
            metavar="SIZES",
            help="Train on growing numbers of clips per class, such as 5,10,20,50,all, instead of one run: "
            "accuracy by size with intervals, and what the next hundred clips would bring. --seeds sets "
            "the number of draws. [default of --seeds: 5]",
            show_default=False,
        ),
    ] = None,
    gpus: GpusOption = 1,
    preflight: Annotated[
        bool,
        typer.Option(
            "--preflight/--no-preflight",
            help="Sanity check: overfit one batch before training, and estimate the duration.",
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
        bool, typer.Option("--resume", help="Resume an interrupted run: --name, or the latest.")
    ] = False,
    engine: FeatureEngineOption = "local",
    compiled: CompileOption = False,
    decoder: DecoderOption = "auto",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Fine-tune a pre-trained model on a split.

    Trains through MMAction2, evaluates on val and test, and stores config, metrics, checkpoints and
    predictions in runs/NAME. Ctrl-C interrupts it; the same command, or --resume, resumes after the
    last complete epoch.

    Example: `dance finetune --pretrain nonlocal --split full --freeze 4`,
    `dance finetune --protocol mteb`, or `dance split --folds 10` and `dance finetune --folds`
    """
    from dancecli.model.dataloading.split_data import count_repeats
    from dancecli.model.runs.finetune import FinetuneSettings
    from dancecli.model.runs.plan import Execution
    from dancecli.model.runs.resume import planned
    from dancecli.model.runs.seeds import plan_group
    from dancecli.model.training.distributed import get_rank_info

    if seeds and (resume or seed):
        other = "--resume" if resume else "--seed"
        raise UsageError(
            f"--seeds and {other} exclude each other",
            "the same command resumes by itself" if resume else "--seeds trains with 0, 1, 2, ...",
        )
    here = get_rank_info()
    refuse_in_one_process(max(gpus, here.size), {"--seeds": seeds, "--folds": folds})
    workspace = open_workspace(workspace_dir, create=False)
    if folds and not (curve or seeds or seed or resume):
        seeds = repeats if (repeats := count_repeats(workspace, split)) > 1 else None
    if protocol == MTEB and not (folds or curve or resume or seeds or seed):
        seeds = _MTEB_DRAWS
    settings = FinetuneSettings(
        pretrain=pretrain,
        split=split,
        recipe=recipe,
        name=name,
        weights=weights,
        seed=seed,
        freeze=freeze,
        head=_head(head),
        protocol=protocol,
        epochs=epochs,
        lr=lr,
        batch=batch,
        views=views,
        flow_method=flow_method,
        input=input_,
        num_clips=num_clips,
        augment=augment,
        amp=amp,
        changes=tuple(changes or ()),
        head_init=head_init,
        folds=folds,
        resume=resume,
        execution=Execution(
            preflight=preflight,
            cache=cache,
            processes=max(gpus, here.size),
            engine=engine,
            compiled=compiled,
            decoder=decoder,
        ),
    )
    if curve:
        _run_curve(workspace, settings, curve, seeds or _DRAWS, dry_run=dry_run, json_output=json_output)
    elif dry_run:
        plan = plan_group(workspace, settings) if seeds else planned(workspace, settings)
        _show_plan(plan, json_output, seeds)
    elif seeds:
        _run_seeds(workspace, settings, seeds, json_output)
    elif gpus > 1 and here.size == 1 and (code := _launch(workspace, settings)) is not None:
        raise typer.Exit(code)
    else:
        _run(workspace, settings, json_output, reported=here.first)


def _head(name: str | None) -> str | None:
    """Return the recipe's name of a head."""
    known = {"linear": SOLVED, ATTENTIVE: ATTENTIVE, KNN: KNN, PROTOTYPE: PROTOTYPE}
    if name is None:
        return None
    if name not in known:
        raise UsageError(f"--head {name}: unknown", f"use {', '.join(known)}")
    return known[name]


def _run(workspace: Workspace, settings: FinetuneSettings, json_output: bool, *, reported: bool) -> None:
    """Train one run in this process; only the first of several processes reports."""
    from dancecli.model.runs.finetune import finetune

    if not reported:
        finetune(workspace, settings)
        return
    with reporting_phases() as reporter:
        result = finetune(workspace, settings, reporter)
    if json_output:
        print_json(result.record)
    else:
        _show(workspace, result)
    if not result.fresh:
        info(f"run {result.name} is already complete")


def _run_seeds(workspace: Workspace, settings: FinetuneSettings, seeds: int, json_output: bool) -> None:
    """Train one run per seed, and summarize them."""
    from dancecli.model.runs.seeds import finetune_seeds

    with reporting_phases() as reporter:
        group = finetune_seeds(workspace, settings, seeds, reporter)
    if json_output:
        print_json(group.document)
    else:
        _show_group(group)


def _run_curve(
    workspace: Workspace,
    settings: FinetuneSettings,
    sizes: str,
    draws: int,
    *,
    dry_run: bool,
    json_output: bool,
) -> None:
    """Train on growing subsets, and write the page of the learning curve."""
    from dancecli.model.runs.learning_curve import learning_curve, parse_sizes
    from dancecli.model.runs.plan import resolve_plan
    from dancecli.report.learning import write_learning_curve

    parsed = parse_sizes(sizes)
    if dry_run:
        _show_plan(resolve_plan(workspace, settings), json_output, None)
        return
    with reporting_phases() as reporter:
        found = learning_curve(workspace, settings, parsed, draws, reporter)
    name = settings.name or f"learning-curve-{found.facts['split']['name']}"
    points = [(point.per_class, point.clips, point.hits) for point in found.points]
    result = write_learning_curve(workspace, name, points, found.groups, found.facts)
    if json_output:
        print_json(result.document)
        return
    rows = [
        (row.size, round(row.clips), row.draws, f"{100 * row.estimate.rate:.1f} %", _span(row.estimate))
        for row in result.rows
    ]
    print_result(table(("clips per class", "training clips", "draws", "top-1", "95 %"), rows))
    print_result(result.advice)
    print_result(str(result.page))


def _span(found: Estimate) -> str:
    return f"{100 * found.low:.1f}-{100 * found.high:.1f}"


def _launch(workspace: Workspace, settings: FinetuneSettings) -> int | None:
    """Check the plan once, and start the processes under one name.

    Returns:
        The exit code; None if this process is to train, since only features are computed by several.
    """
    import sys

    from dancecli.model.runs.resume import planned
    from dancecli.model.training.distributed import launch

    plan = planned(workspace, settings)
    check_gpus(settings.execution.processes)
    if plan.cached:
        return None
    resume = ["--resume"] if plan.settings.resume and not settings.resume else []
    return launch(settings.execution.processes, [*sys.argv[1:], *resume, "--name", plan.name])


def _show(workspace: Workspace, result: RunResult) -> None:
    record = result.record
    print_scores(record)
    chosen = record["checkpoint"]
    if record.get("cross_validation"):
        _show_folds(workspace, record)
        return
    if record.get("probe"):
        print_result(_head_line(record["head"]))
        print_result(f"next: dance report --run {result.name}")
        return
    if record["head"].get("solver"):
        head = record["head"]
        print_result(f"head: started solved, C = {head['C']:.3g}{_held_out(head)}")
    of = record["optim"]["epochs"]
    early = "" if chosen["epochs_run"] == of else f" (stopped early after {chosen['epochs_run']})"
    print_result(f"checkpoint: {chosen['name']}.pth, epoch {chosen['epoch']} of {of}{early}")
    print_result(f"next: dance report --run {result.name}")


def _head_line(head: dict[str, Any]) -> str:
    """Say what a probe is, and what it got right of training clips that it had not seen."""
    if "C" in head:
        words = f"solved, C = {head['C']:.3g}"
    elif "neighbors" in head:
        words = f"{head['probe']}, {head['neighbors']} neighbors"
    elif "lr" in head:
        words = f"{head['probe']}, learning rate {head['lr']:g}, weight decay {head['weight_decay']:g}"
    else:
        words = head["probe"]
    return f"head: {words}{_held_out(head)}"


def _held_out(head: dict[str, Any]) -> str:
    """Say what a head got right in its cross-validation; nothing if its clips were too few for one."""
    found = head["held_out"]
    return f"; in cross-validation {_of(found)} of train" if found["n"] else ""


def _show_folds(workspace: Workspace, record: dict[str, Any]) -> None:
    from dancecli.report.report import headline
    from dancecli.report.results.run_results import read_run_results
    from dancecli.report.results.summaries import summarize

    rows = record["cross_validation"]["of_fold"]
    results = read_run_results(workspace, record["name"])
    groups = len(set(results.subsets["test"].groups))
    print_result(
        f"pooled over {len(rows)} folds: {headline(summarize(results)['test'])}, {pluralize(groups, 'group')}"
    )
    print_result("correct in each fold: " + ", ".join(f"{row['top1']}/{row['n']}" for row in rows))
    if record["checkpoint"]["name"]:
        print_result(f"checkpoint: {record['checkpoint']['name']}.pth, trained on all clips")
    else:
        print_result("checkpoint: none for dance predict, as there is no model of all clips")
    print_result(f"next: dance report --run {record['name']}")


def _of(found: dict[str, int]) -> str:
    return f"{found['top1']}/{found['n']} ({100 * found['top1'] / max(1, found['n']):.1f} %)"


def _show_group(group: GroupResult) -> None:
    from dancecli.report.results.seed_group import SAME_FOR_ALL_SEEDS
    from dancecli.storage.runs import ignores_seed

    found = group.document
    rows: list[tuple[object, ...]] = []
    for subset, result in found["results"].items():
        for key, title in shares(len(group.records[0]["labels"])).items() if result else ():
            at = result[key]
            counts = ", ".join(map(str, at["k"]))
            span = f"{100 * at['min']:.1f}-{100 * at['max']:.1f} %"
            mean = f"{100 * at['mean']:.1f} ± {100 * at['sd']:.1f} %"
            rows.append((f"{subset} {title}", result["n"], mean, span, counts))
    print_result(f"group {group.name}: {len(group.records)} seeds, {found['views']['test']}")
    print_result(table(("subset", "clips", "mean ± SD", "range", "correct per seed"), rows))
    print_result(f"next: dance report --run {group.name}")
    info(f"{group.num_fresh} of {len(group.records)} runs were trained by this command")
    if all(ignores_seed(record) for record in group.records):
        info(SAME_FOR_ALL_SEEDS)


def _schedule(recipe: Recipe) -> dict[str, Any]:
    accumulated = {"accumulate": recipe.accumulate} if recipe.accumulate > 1 else {}
    return {"epochs": recipe.epochs, "batch": recipe.batch, **accumulated, "lr": recipe.scaled_lr()}


def _show_plan(plan: Plan, json_output: bool, seeds: int | None) -> None:
    recipe = plan.recipe
    document: dict[str, Any] = {
        **({"group": plan.name, "seeds": seeds} if seeds else {"run": plan.name}),
        "pretrain": plan.entry.name,
        "split": plan.data.name,
        "counts": plan.data.counts,
        "freeze": recipe.freeze,
        "cache": plan.cached,
        "head": recipe.head,
        **(_schedule(recipe) if recipe.head == TRAINED else {}),
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
