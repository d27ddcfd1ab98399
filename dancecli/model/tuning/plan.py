"""The plan of a study, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Subset
from dancecli.model.networks.zoo import DEFAULT_PRETRAIN
from dancecli.model.runs.plan import FinetuneSettings, Plan, make_plan
from dancecli.model.tuning.search_space import Space, read_space
from dancecli.storage.workspace import Workspace, checked_name

# As in the paper.
TRIALS, EPOCHS, SPACE = 4, 10, "paper"


@dataclass(frozen=True)
class TuneSettings:
    """Settings of a study.

    Attributes:
        trials: points to try in the whole study; the default configuration comes on top.
        epochs: epochs per trial.
        space: name of a search space, or the path of a TOML file.
        pretrain, split, recipe, freeze, weights: as for `finetune`.
        seed: random seed of the sampler and of every trial's training.
        name: name of the study; None gives `<pretrain>-<split>`.
        storage: SQLAlchemy URL of a database; None for a file in the workspace.
    """

    trials: int = TRIALS
    epochs: int = EPOCHS
    space: str = SPACE
    pretrain: str = DEFAULT_PRETRAIN
    split: str | None = None
    recipe: str = "default"
    freeze: str | None = None
    weights: str | None = None
    seed: int = 0
    name: str | None = None
    storage: str | None = None


@dataclass(frozen=True)
class TunePlan:
    """A study as it will be, checked against the workspace; nothing is written yet.

    Attributes:
        base: plan that all trials share.
        sequential: why the trials cannot be trained in one batch; empty if they can.
    """

    name: str
    settings: TuneSettings
    base: Plan
    space: Space
    sequential: str
    notes: tuple[str, ...]


def plan_study(workspace: Workspace, settings: TuneSettings) -> TunePlan:
    """Resolve the settings and check everything that needs no model; see `tune`."""
    common = FinetuneSettings(
        pretrain=settings.pretrain,
        split=settings.split,
        recipe=settings.recipe,
        weights=settings.weights,
        seed=settings.seed,
        freeze=settings.freeze,
        epochs=settings.epochs,
    )
    base = make_plan(workspace, common)
    split = base.data.name
    if not base.data.examples[Subset.VAL]:
        raise WorkspaceError(
            f"split {split!r} has no validation subset, and choosing by test would bias its result",
            "make one: dance split --ratios 80/10/10 --name tuning, then --split tuning",
        )
    name = checked_name(settings.name or f"{base.entry.name}-{split}", "study")
    space = read_space(settings.space, base.recipe)
    from dancecli.model.tuning.head_trials import BATCHED_TRIALS, why_sequential

    sequential = why_sequential(base, space)
    batched = f"{BATCHED_TRIALS} linear probes are trained in one batch"
    how = f"trials run one after the other: {sequential}" if sequential else batched
    # A learning rate that is searched is not scaled.
    notes = [note for note in base.notes if "lr" not in space.keys or not note.startswith("learning rate")]
    notes.append(how)
    if space.point_of(base.recipe) is None:
        notes.append("the default configuration lies outside the search space: there is no baseline trial")
    return TunePlan(name, settings, base, space, sequential, tuple(notes))
