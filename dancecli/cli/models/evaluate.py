"""`dance evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import (
    info,
    open_workspace,
    print_json,
    print_result,
    print_scores,
    reporting_phases,
    table,
)
from dancecli.cli.models.processes import check_gpus, refuse_in_one_process
from dancecli.cli.options import DecoderOption, DryRunOption, JsonOption, RunSplitOption, WorkspaceOption
from dancecli.core.errors import UsageError
from dancecli.core.records import Control

if TYPE_CHECKING:
    from dancecli.core.progress import Reporter
    from dancecli.model.evaluation.baseline import BaselineSettings
    from dancecli.model.evaluation.controls import ControlResult
    from dancecli.model.evaluation.evaluate import EvaluateSettings
    from dancecli.report.results.comparison import Controlled
    from dancecli.storage.runs import RunResult
    from dancecli.storage.workspace import Workspace


def command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="Run to evaluate; with --ensemble, two or more runs.", show_default=False
        ),
    ] = None,
    workspace_dir: WorkspaceOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Run whose weights are evaluated. [default: the latest run]",
            show_default=False,
        ),
    ] = None,
    split: RunSplitOption = None,
    num_clips: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of temporal clips per video to average.")
    ] = None,
    num_crops: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Number of spatial crops per clip to average: 1 or 3."),
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average the scores of several runs: --ensemble A B C.")
    ] = False,
    weigh: Annotated[
        bool,
        typer.Option("--weigh", help="Weigh the runs of an ensemble by their scores on val, not equally."),
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="kinetics400|zero-shot",
            help="Evaluate without training: a pre-trained classifier, or a model that knows labels by name.",
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Evaluate a run on its test clips without motion, order, dancer or background, to learn "
            "what it looks at: one-frame, still, shuffled, reversed, background, person, comma-separated.",
            show_default=False,
        ),
    ] = None,
    pretrain: Annotated[
        str,
        typer.Option(
            metavar="NAME|CONFIG|hf:REPO@REVISION",
            help="Model of the baseline: a name of the zoo, a config file, or a model of the Hub.",
        ),
    ] = "inception",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Weights of the baseline. [default: the model's own]", show_default=False
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE|RUN",
            help="Recipe whose views the baseline uses, or a run or group of seeds that it is compared with, "
            "changes by --set included.",
        ),
    ] = "default",
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file that puts the labels into words for zero-shot. [default: a built-in one]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the new run.")] = None,
    gpus: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Share the clips of a run among N processes, one per GPU."),
    ] = 1,
    decoder: DecoderOption = "auto",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Evaluate a run (multi-view, other split, under controls), an ensemble or a zero-shot baseline.

    The result is a run like any other, for report, compare and board. Clips that a run was trained on
    are counted and reported. A baseline uses the pre-trained classifier weights of each label that is
    a class of Kinetics-400; the other labels are listed and never predicted. Controls evaluate the one
    trained model on changed input; their results are shown in the run's report.

    Example: `dance evaluate --run inception-full-1 --num-clips 10 --num-crops 3`

    Example: `dance evaluate --control still,shuffled,background`

    Example: `dance evaluate --ensemble rgb flow pose --weigh`

    Example: `dance evaluate --baseline kinetics400 --pretrain inception`

    Example: `dance evaluate --baseline zero-shot --pretrain hf:microsoft/xclip-base-patch32@COMMIT`
    """
    from dancecli.model.dataloading.decoding.choice import AUTO
    from dancecli.model.evaluation.baseline import BaselineSettings
    from dancecli.model.evaluation.ensemble import EnsembleSettings
    from dancecli.model.evaluation.ensemble import ensemble as fuse
    from dancecli.model.evaluation.evaluate import EvaluateSettings

    named = [*(runs or []), *([run] if run else [])]
    if weigh and not ensemble:
        raise UsageError("--weigh is for the runs of an ensemble", "add --ensemble")
    _refuse_mixture(named, ensemble=ensemble, baseline=baseline)
    if control is not None and any((ensemble, baseline, split, name, num_clips, num_crops)):
        raise UsageError(
            "--control evaluates a run on its own test clips and views", "give it only the run: --run NAME"
        )
    one = {"--control": control is not None, "--ensemble": ensemble, "--baseline": baseline}
    refuse_in_one_process(gpus, one)
    check_gpus(gpus)
    if decoder != AUTO and (ensemble or baseline or control is not None):
        raise UsageError("--decoder is for the evaluation of a run", "omit it")
    workspace = open_workspace(workspace_dir, create=False)
    if control is not None:
        _evaluate_controls(workspace, named[0] if named else None, control, dry_run, json_output)
        return
    if ensemble:
        result = fuse(workspace, EnsembleSettings(tuple(named), name, weigh), dry_run=dry_run)
    elif baseline:
        given = str(weights) if weights else None
        wanted = BaselineSettings(pretrain, given, split, recipe, num_clips, num_crops, name)
        with reporting_phases() as reporter:
            result = _run_baseline(workspace, baseline, wanted, prompts, reporter, dry_run=dry_run)
    else:
        again = EvaluateSettings(
            named[0] if named else None, split, num_clips, num_crops, name, gpus, decoder
        )
        result = _evaluate_run(workspace, again, dry_run=dry_run)
    if json_output:
        print_json(result.record)
    elif not dry_run:
        print_scores(result.record)
        print_result(f"next: dance report --run {result.name}, or dance board")
    for note in result.notes:
        info(note)
    if dry_run:
        info(f"would create run {result.name}")
    elif not result.fresh:
        info(f"run {result.name} is this evaluation already; nothing was computed")


def _evaluate_run(workspace: Workspace, again: EvaluateSettings, *, dry_run: bool) -> RunResult:
    """Evaluate a network, or a model of trajectories."""
    from dancecli.model.dataloading.decoding.choice import AUTO
    from dancecli.model.evaluation.evaluate import evaluate

    if again.run is None or not _is_of_trajectories(workspace, again.run):
        with reporting_phases() as reporter:
            return evaluate(workspace, again, reporter, dry_run=dry_run)
    if again.num_clips or again.num_crops or again.processes > 1 or again.decoder != AUTO:
        raise UsageError(
            f"run {again.run!r} sees whole clips, and is no network",
            "omit --num-clips, --num-crops, --gpus and --decoder",
        )
    with reporting_phases() as reporter:
        return _evaluate_trajectories(
            workspace, again.run, again.split, again.name, reporter, dry_run=dry_run
        )


def _is_of_trajectories(workspace: Workspace, run: str) -> bool:
    from dancecli.model.runs.trajectories import is_trajectory_run
    from dancecli.storage.runs import read_record

    return is_trajectory_run(read_record(workspace, run))


def _evaluate_trajectories(
    workspace: Workspace, run: str, split: str | None, name: str | None, reporter: Reporter, *, dry_run: bool
) -> RunResult:
    """Track what is not tracked yet of a split, and evaluate a run on trajectories on it."""
    from dancecli.dataset.derived.trajectories import TrajectoriesSettings, trajectories
    from dancecli.model.runs.trajectories import evaluate_trajectories, read_model
    from dancecli.storage.runs import read_record
    from dancecli.video.trajectories.estimate import flow_of_method

    flow = flow_of_method(read_model(workspace, run).model.method)
    on = split or read_record(workspace, run)["split"]["name"]
    tracking = TrajectoriesSettings(on, flow, dry_run=dry_run)
    tracked = trajectories(workspace, tracking, reporter.named("trajectories"))
    if dry_run and tracked.made:
        raise UsageError(
            f"{tracked.made} of {tracked.num_clips} clips of split {on} are not tracked yet",
            "evaluate without --dry-run, which tracks them",
        )
    return evaluate_trajectories(workspace, run, on, name, reporter, dry_run=dry_run)


def _evaluate_controls(
    workspace: Workspace, run: str | None, listed: str, dry_run: bool, json_output: bool
) -> None:
    """Evaluate a run under controls, and print what survives."""
    from dancecli.report.controls import read_controls
    from dancecli.report.results.comparison import CAVEAT
    from dancecli.report.results.metrics_json import controlled_json
    from dancecli.report.results.run_results import read_run_results

    wanted = _controls(listed)
    with reporting_phases() as reporter:
        result = _score_controls(workspace, run, wanted, reporter, dry_run=dry_run)
    if dry_run:
        info(f"would evaluate run {result.run} under: {', '.join(result.computed) or 'nothing new'}")
        return
    found = [
        c for c in read_controls(workspace, read_run_results(workspace, result.run)) if c.control in wanted
    ]
    if json_output:
        print_json({"name": result.run, "note": CAVEAT, "controls": [controlled_json(c) for c in found]})
        return
    rows = [_control_row(one) for one in found]
    print_result(f"run {result.run}, test clips as they are: {found[0].intact.k}/{found[0].intact.n}")
    print_result(table(("control", "sees", "right", "top-1", "95 %", "survives", "p"), rows, align="left"))
    print_result(CAVEAT)
    print_result(f"next: dance report --run {result.run}")
    if not result.computed:
        info("these controls were evaluated already; nothing was computed")


def _score_controls(
    workspace: Workspace, run: str | None, wanted: tuple[Control, ...], reporter: Reporter, *, dry_run: bool
) -> ControlResult:
    """Score the test clips of a network, or of a model of trajectories, under controls."""
    if run is None or not _is_of_trajectories(workspace, run):
        from dancecli.model.evaluation.controls import ControlSettings, evaluate_controls

        return evaluate_controls(workspace, ControlSettings(run, wanted), reporter, dry_run=dry_run)
    from dancecli.model.runs.trajectory_controls import evaluate_trajectory_controls
    from dancecli.video.trajectories.estimate import VideoTrajectories

    return evaluate_trajectory_controls(workspace, run, wanted, VideoTrajectories, reporter, dry_run=dry_run)


def _controls(listed: str) -> tuple[Control, ...]:
    names = [name.strip() for name in listed.split(",")]
    known = [control.value for control in Control]
    if odd := [name for name in names if name not in known]:
        raise UsageError(f"unknown control {odd[0]!r}", f"known: {', '.join(known)}")
    return tuple(Control(name) for name in dict.fromkeys(names))


def _control_row(of: Controlled) -> tuple[str, ...]:
    span, kept = of.under.estimate, of.survival
    assert span  # noqa: S101 - for the type checker; a control without clips is not read
    share = f"{100 * kept.share:.0f} % ({100 * kept.low:.0f} to {100 * kept.high:.0f})" if kept else "-"
    return (
        of.control,
        of.sees,
        f"{of.under.k}/{of.under.n}",
        f"{100 * span.rate:.1f} %",
        f"{100 * span.low:.1f}-{100 * span.high:.1f}{' (chance)' if of.at_chance else ''}",
        share,
        f"{of.p:.2g}",
    )


def _run_baseline(
    workspace: Workspace,
    kind: str,
    wanted: BaselineSettings,
    prompts: Path | None,
    reporter: Reporter,
    *,
    dry_run: bool,
) -> RunResult:
    """Evaluate the classifier of a pre-trained model, or the labels' names."""
    from dancecli.model.evaluation.baseline import baseline
    from dancecli.model.evaluation.zero_shot import ZERO_SHOT, ZeroShotSettings, zero_shot

    if kind != ZERO_SHOT:
        if prompts:
            raise UsageError("--prompts is for --baseline zero-shot", "omit it")
        return baseline(workspace, wanted, reporter, dry_run=dry_run)
    if wanted.weights or wanted.num_crops or wanted.recipe != "default":
        raise UsageError(
            "--weights, --recipe and --num-crops do not apply to --baseline zero-shot",
            "the views are those of the model",
        )
    texts = ZeroShotSettings(wanted.pretrain, prompts, wanted.split, wanted.num_clips, wanted.name)
    return zero_shot(workspace, texts, reporter, dry_run=dry_run)


def _refuse_mixture(named: list[str], *, ensemble: bool, baseline: str | None) -> None:
    if baseline not in (None, "kinetics400", "zero-shot"):
        raise UsageError(f"unknown baseline {baseline!r}", "known: kinetics400, zero-shot")
    if ensemble and baseline:
        raise UsageError("--ensemble and --baseline cannot be combined", "give one of them")
    if baseline and named:
        raise UsageError(
            f"a baseline evaluates a model, not run {named[0]!r}", "name the model with --pretrain"
        )
    if not ensemble and len(named) > 1:
        raise UsageError(f"{len(named)} runs are named", "name one, or average them with --ensemble")
