"""What a study is to search, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Subset
from dancecli.model.networks.zoo import DEFAULT_PRETRAIN
from dancecli.model.runs.plan import FinetuneSettings, Plan, make_plan
from dancecli.model.tuning.search_space import Space, read_space
from dancecli.storage.workspace import Workspace, checked_name

# The paper's.
TRIALS, EPOCHS, SPACE = 4, 10, "paper"


@dataclass(frozen=True)
class TuneSettings:
    """What to search.

    Attributes:
        trials: points to try in the whole study; the recipe as it is comes on top.
        epochs: of each.
        space: a name, or the path of a TOML file.
        pretrain, split, recipe, freeze, weights: as for `finetune`.
        seed: of the sampler, and of every trial's training.
        name: of the study; None gives `<pretrain>-<split>`.
        storage: SQLAlchemy's address of a database; None for a file of the workspace.
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
        base: what every trial has in common.
        alone: why the trials cannot be trained together; empty if they can.
    """

    name: str
    settings: TuneSettings
    base: Plan
    space: Space
    alone: str
    notes: tuple[str, ...]


def plan_study(workspace: Workspace, settings: TuneSettings) -> TunePlan:
    """Resolve the settings and check what can be checked without the model; see `tune`."""
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
            f"split {split!r} has no validation part, and a choice by the test part would spoil it",
            "make a split with one: dance split --ratios 80/10/10 --name tuning, then --split tuning",
        )
    name = checked_name(settings.name or f"{base.entry.name}-{split}", "study")
    space = read_space(settings.space, base.recipe)
    from dancecli.model.tuning.head_trials import TOGETHER, why_alone

    alone = why_alone(base, space)
    how = f"each trial is a run of its own: {alone}" if alone else f"{TOGETHER} heads are trained at once"
    # A learning rate that is searched is not scaled, and says so by its place in the space.
    notes = [note for note in base.notes if "lr" not in space.keys or not note.startswith("learning rate")]
    notes.append(how)
    if space.point_of(base.recipe) is None:
        notes.append("the recipe as it is lies outside the space: there is no baseline trial")
    return TunePlan(name, settings, base, space, alone, tuple(notes))
