"""What a plan resolves and reports before any work."""

from __future__ import annotations

import pytest

from dancecli.core.records import Subset
from dancecli.model.runs.plan import FinetuneSettings, make_plan


@pytest.mark.parametrize(
    ("given", "freeze", "norm_eval"),
    [
        ({}, "none", False),
        ({"freeze": "none"}, "none", False),
        ({"changes": ("freeze=none",)}, "none", False),
        ({"freeze": "2"}, "2", False),
        ({"freeze": "none", "changes": ("norm_eval=true",)}, "none", True),
    ],
)
def test_random_weights_train_batch_norm_however_freeze_is_given(
    corpus, tiny_model, tiny_recipe, given, freeze, norm_eval
):
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe), **given)
    recipe = make_plan(corpus(), settings).recipe
    assert (recipe.freeze, recipe.norm_eval) == (freeze, norm_eval)


def test_classes_without_clips_in_a_subset_are_reported(corpus, tiny_model, tiny_recipe):
    workspace = corpus()
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe))
    assert not [note for note in make_plan(workspace, settings).notes if "have no clip in train" in note]
    lists = workspace.annotations("small") / "train.txt"
    kept = [line for line in lists.read_text().splitlines() if not line.endswith(" 0")]
    lists.write_text("\n".join(kept) + "\n")
    plan = make_plan(workspace, settings)
    assert plan.data.train_counts[0] == 0
    label = plan.data.labels[0]
    assert f"1 of 3 classes have no clip in train ({label}): they cannot be predicted" in plan.notes
    assert plan.data.examples[Subset.TEST]
