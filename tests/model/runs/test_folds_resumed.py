"""What a cross-validation took, if it was stopped between two folds and went on later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dancecli.core.progress import SILENT
from dancecli.core.records import Prediction, Subset
from dancecli.model.dataloading.split_data import Example, SplitData
from dancecli.model.runs import folds
from dancecli.model.training.runner import Outcome
from dancecli.storage.runs import RunFolder

CLIPS = tuple(f"clip{i}" for i in range(6))


@dataclass(frozen=True)
class FakeJob:
    """What a cross-validation reads of a job."""

    data: SplitData
    folder: RunFolder
    seed: int = 0
    preflight: bool = True


def make_job(root: Path) -> FakeJob:
    every = tuple(Example(clip, f"{clip}.mp4", 0, "") for clip in CLIPS)
    data = SplitData(
        name="folds",
        meta={},
        labels=("wave",),
        examples={Subset.TRAIN: every, Subset.VAL: (), Subset.TEST: every},
        test_hash="",
        clip_s=2.0,
        lengths=(),
        notes=(),
        folds=({clip: 1 + i % 3 for i, clip in enumerate(CLIPS)},),
    )
    return FakeJob(data, RunFolder(root))


def train(job: Any) -> tuple[Outcome, dict[str, Any]]:
    return folds.train_folds(job, lambda data, folder: replace(job, data=data, folder=folder), SILENT)


def test_every_fold_counts_whenever_it_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, began = make_job(tmp_path), []

    def run(own: FakeJob, _: object) -> Outcome:
        if len(began) == 2:
            began.clear()
            raise KeyboardInterrupt
        began.append(own)
        tested = own.data.examples[Subset.TEST]
        return Outcome(
            predictions=[Prediction(e.clip_id, "test", 0, (1.0,)) for e in tested],
            chosen="last",
            chosen_epoch=2,
            epochs_run=2,
            seconds={"features": 1.5, "train": 10.0},
            params_total=900,
            params_trainable=30,
            data_wait={"waited_s": 0.25, "of_s": 8.0},
            preflight={"step_s": 0.1} if own.preflight else None,
            computed=4,
            engines={"torch": 4},
        )

    monkeypatch.setattr(folds, "run_job", run)
    with pytest.raises(KeyboardInterrupt):
        train(job)
    resumed, record = train(job)
    assert len(began) == 1
    assert resumed.seconds == {"features": 4.5, "train": 30.0}
    assert (resumed.computed, resumed.engines) == (12, {"torch": 12})
    assert resumed.data_wait == {"waited_s": 0.75, "of_s": 24.0}
    assert (resumed.params_total, resumed.params_trainable) == (900, 30)
    assert resumed.preflight == {"step_s": 0.1}
    assert [row.clip_id for row in resumed.predictions] == list(CLIPS)
    assert [row["n"] for row in record["of_fold"]] == [2, 2, 2]
    # Stopped after the last fold: nothing is trained, and it is the same run.
    assert train(job) == (resumed, record)
    assert len(began) == 1
