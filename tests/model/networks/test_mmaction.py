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
from dancecli.model.runs.plan import Execution


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


def test_a_start_imports_nothing_that_is_not_used(tmp_path):
    code = (
        "import sys\n"
        "from dancecli.core.recipe import Recipe\n"
        "from dancecli.model.networks.base import build_model_config, model_base\n"
        "from dancecli.model.networks.build import shapes_of\n"
        "from dancecli.model.networks.zoo import find_entry\n"
        "import dancecli.model.training.runner\n"
        "unused = {'transformers', 'scipy.stats', 'torch.distributed.fsdp', 'torch._dynamo'}\n"
        "assert not unused & set(sys.modules), unused & set(sys.modules)\n"
        "for name in ('inception', 'resnet50'):\n"
        "    shapes = shapes_of(build_model_config(model_base(find_entry(name)), Recipe(), 3, None))\n"
        "    assert all(value.is_meta for value in shapes.values())\n"
        "    assert shapes['cls_head.fc_cls.weight'].shape[0] == 3\n"
        "from mmaction.datasets.transforms.pose_transforms import get_mode\n"
        "import numpy as np\n"
        "assert get_mode(np.array([1, 2, 2])).mode == [2]\n"
        "from scipy.stats import norm\n"
        "import torch.distributed.optim\n"
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
        assert stock_accuracy(folder / "config.py", checkpoint, stock) == accuracy_of(result)


def accuracy_of(result):
    test = result.record["results"]["test"]
    return pytest.approx({"acc/top1": test["top1"] / test["n"], "acc/top5": test["top5"] / test["n"]})


def stock_accuracy(config, checkpoint, folder):
    """What MMAction2's own `tools/test.py` says of a checkpoint."""
    from dancecli.model.networks.mmaction import TOOLS

    scores = folder / "scores.pkl"
    tool = (TOOLS / "test.py", config, checkpoint, "--work-dir", folder / "test", "--dump", scores)
    run_python(*tool, cwd=folder.parent)
    record = max((folder / "test").glob("*/*.json"), key=lambda path: path.stat().st_mtime)
    found = json.loads(record.read_text())
    return {key: found[key] for key in ("acc/top1", "acc/top5")}


@pytest.mark.usefixtures("own_cache")
def test_the_exported_checkpoint_of_a_partly_frozen_run_is_whole_for_the_tools_of_mmaction2(
    corpus, tiny_recipe, tiny_model, tmp_path
):
    import torch

    from dancecli.model.inference.export import ModelForm, export_run
    from dancecli.model.networks.base import model_base
    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.zoo import find_entry

    base = model_base(find_entry(str(tiny_model))).model
    base["backbone"]["pretrained"] = None
    torch.save({"state_dict": build_model(base, 7).state_dict()}, tmp_path / "given.pth")
    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model),
        weights=str(tmp_path / "given.pth"),
        recipe=str(tiny_recipe),
        epochs=3,
        lr=0.1,
        freeze="3",
        name="ours",
        execution=Execution(preflight=False),
    )
    result = finetune(workspace, settings)
    cut = workspace.run("ours") / "checkpoints" / "best.pth"
    exported = export_run(workspace, "ours", ModelForm.PTH)
    (tmp_path / "stock").mkdir()
    sizes = [path.stat().st_size for path in (cut, exported.file)]
    assert sizes[0] < sizes[1]
    # Ours also read what a run keeps, where they are given the run's config.
    for config, checkpoint in (
        (exported.folder / "config.py", exported.file),
        (workspace.run("ours") / "config.py", cut),
    ):
        assert stock_accuracy(config, checkpoint, tmp_path / "stock") == accuracy_of(result)
