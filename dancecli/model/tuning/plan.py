"""The plan of a study, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from dancecli.core.errors import WorkspaceError
from dancecli.core.recipe import HELD_OUT, SOLVED
from dancecli.core.records import Subset
from dancecli.model.dataloading.split_data import count_repeats
from dancecli.model.runs.plan import FinetuneSettings, Plan, make_plan, resolve_plan
from dancecli.model.tuning.search_space import Space, read_space
from dancecli.storage.workspace import Workspace, checked_name

# As in the paper.
TRIALS, EPOCHS, SPACE = 4, 10, "paper"


@dataclass(frozen=True, kw_only=True)
class TuneSettings(FinetuneSettings):
    """Settings of a study: those of `finetune`, which every trial has, and what to search.

    Attributes:
        trials: points to try in the whole study; the default configuration comes on top.
        epochs: epochs per trial.
        space: name of a search space, or the path of a TOML file.
        seed: random seed of the sampler and of every trial's training.
        name: name of the study; None gives `<pretrain>-<split>`.
        storage: SQLAlchemy URL of a database; None for a file in the workspace.
    """

    trials: int = TRIALS
    epochs: int | None = EPOCHS
    space: str = SPACE
    storage: str | None = None

    def common(self) -> FinetuneSettings:
        """Return the settings that every trial has."""
        shared = {field.name: getattr(self, field.name) for field in fields(FinetuneSettings)}
        # Trials are chosen by the validation subset, whatever its size.
        changes = (*self.changes, f"validation={HELD_OUT}")
        return FinetuneSettings(**{**shared, "name": None, "changes": changes})


@dataclass(frozen=True)
class TunePlan:
    """A study as it will be, checked against the workspace; nothing is written yet.

    Attributes:
        base: plan that all trials share.
        sequential: why the trials cannot be trained in one batch; empty if they can.
        solved_by_default: `finetune` solves the head with these settings, where trials train it by epochs.
    """

    name: str
    settings: TuneSettings
    base: Plan
    space: Space
    sequential: str
    solved_by_default: bool
    notes: tuple[str, ...]


def plan_study(workspace: Workspace, settings: TuneSettings) -> TunePlan:
    """Resolve the settings and check everything that needs no model; see `tune`."""
    if count_repeats(workspace, settings.split):
        raise WorkspaceError(
            f"split {workspace.find_split(settings.split)!r} is one of cross-validation, and settings are "
            "chosen by validation clips",
            "give --split with a train and a val subset: dance split --ratios 80/10/10 --name tuning, "
            "then --split tuning",
        )
    base = make_plan(workspace, settings.common())
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
    unlimited = replace(settings.common(), pretrain=base.settings.pretrain, epochs=None)
    solved = resolve_plan(workspace, unlimited).recipe.head == SOLVED
    return TunePlan(name, settings, base, space, sequential, solved, tuple(notes))
