from __future__ import annotations

import errno
import os

import pytest

from dancecli.storage import files
from dancecli.storage.files import save_torch


def test_a_full_disk_is_told_as_one_and_leaves_the_file_before(tmp_path, monkeypatch):
    import torch

    path = tmp_path / "weights.pth"
    save_torch(path, {"a": torch.zeros(3)})
    whole = files.atomic_file

    class Full:
        def __init__(self, file):
            self.file, self.written = file, 0

        def write(self, data):
            self.written += len(data)
            if self.written > 2000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    class Opened:
        def __init__(self, *args):
            self.inner = whole(*args)

        def __enter__(self):
            return Full(self.inner.__enter__())

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(files, "atomic_file", Opened)
    with pytest.raises(OSError, match="No space left") as caught:
        save_torch(path, {"a": torch.ones(100_000)})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert torch.load(path, weights_only=True)["a"].sum() == 0
    assert list(tmp_path.iterdir()) == [path]
