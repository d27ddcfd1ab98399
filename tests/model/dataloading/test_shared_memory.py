from __future__ import annotations

import shutil

import pytest

from dancecli.core.errors import ModelError
from dancecli.model.dataloading import shared_memory


def loader(workers: int, crop: str = "RandomCrop", **sampler: int):
    steps = [
        {"type": "SampleFrames", "clip_len": 32, **sampler},
        {"type": "Resize", "scale": (-1, 256)},
        {"type": crop, "size": 224, "crop_size": 224 if crop == "CenterCrop" else 256},
    ]
    return {"num_workers": workers, "batch_size": 16, "dataset": {"pipeline": steps}}


def test_the_size_of_a_clip():
    frame = 224 * 224 * 3
    assert shared_memory.clip_bytes(loader(1)) == 32 * frame
    assert shared_memory.clip_bytes(loader(1, "CenterCrop", num_clips=10)) == 320 * frame
    assert shared_memory.clip_bytes(loader(1, "ThreeCrop")) == 3 * 32 * 256 * 256 * 3


def test_workers_whose_batches_do_not_fit_are_refused_before_they_hang(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=64_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    shared_memory.check_shared_memory([loader(0), None])
    with pytest.raises(
        ModelError, match="/dev/shm has 64 MB free, and 4 data loader workers need about 925 MB"
    ) as e:
        shared_memory.check_shared_memory([loader(4), None])
    assert "--set workers=0" in e.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "unable to allocate shared memory(shm) for file </torch_7>: No space left on device (28)",
        "DataLoader worker (pid 5) is killed by signal: Bus error.",
        "DataLoader timed out after 900 seconds",
    ],
)
def test_what_torch_raises_then_is_one_line(text):
    with pytest.raises(ModelError, match="/dev/shm is full"), shared_memory.loader_errors():
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="sizes do not match"), shared_memory.loader_errors():
        raise RuntimeError("sizes do not match")
