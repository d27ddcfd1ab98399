"""MMAction2's own tools, in processes of their own: a failed import would leave traces in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dancecli.model.runs.finetune import FinetuneSettings, finetune


def run_python(*args: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        check=False,
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(cwd)},
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return done.stdout + done.stderr


def test_it_starts_in_a_fresh_process_and_our_classes_register_where_they_are_defined(tmp_path):
    code = (
        "from dancecli.model.networks.mmaction import HOOKS, CONFIGS, TOOLS\n"
        "from dancecli.model.networks.build import MODELS\n"
        "from dancecli.model.dataloading.datasets import DATASETS\n"
        "import dancecli.model.training.components\n"
        "assert MODELS.get('InceptionI3D') and MODELS.get('ResNet3d') and MODELS.get('TSNHead')\n"
        "assert DATASETS.get('ViewDataset') and HOOKS.get('StepSeedHook')\n"
        "assert (TOOLS / 'train.py').is_file() and (CONFIGS / 'recognition').is_dir()\n"
    )
    assert run_python("-c", code, cwd=tmp_path) == ""


def test_the_tools_of_mmaction2_train_and_test_a_run_as_dance_does(corpus, tiny_recipe, tiny_model, tmp_path):
    from dancecli.model.networks.mmaction import TOOLS, read_checkpoint

    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        recipe=str(tiny_recipe),
        epochs=1,
        freeze="stem",
        name="ours",
    )
    result = finetune(workspace, settings)
    folder = workspace.run("ours")
    stock = tmp_path / "stock"
    run_python(TOOLS / "train.py", folder / "config.py", "--work-dir", stock, cwd=tmp_path)
    theirs = read_checkpoint(stock / "epoch_1.pth")["state_dict"]
    ours = read_checkpoint(folder / "checkpoints" / "last.pth")["state_dict"]
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert np.allclose(value, theirs[key], rtol=1e-5, atol=1e-6), key
    # What mmengine saved holds a pickled HistoryBuffer (mmengine#1655), what dance saved does not.
    for checkpoint in (stock / "epoch_1.pth", folder / "checkpoints" / "best.pth"):
        run_python(
            TOOLS / "test.py", folder / "config.py", checkpoint, "--work-dir", stock / "test", cwd=tmp_path
        )
        record = max((stock / "test").glob("*/*.json"), key=lambda path: path.stat().st_mtime)
        test = result.record["results"]["test"]
        assert json.loads(record.read_text())["acc/top1"] == pytest.approx(test["top1"] / test["n"])
