from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from dancecli.storage import files
from dancecli.storage.files import save_torch


@pytest.mark.parametrize(
    "raised", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()], ids=["full", "stopped"]
)
def test_what_stops_a_write_is_told_and_leaves_the_file_before(tmp_path, monkeypatch, raised):
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
                raise raised
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
    with pytest.raises(type(raised)) as caught:
        save_torch(path, {"a": torch.ones(100_000)})
    if isinstance(raised, OSError):
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert torch.load(path, weights_only=True)["a"].sum() == 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_and_its_name_are_on_the_disk_before_the_next_step(tmp_path, monkeypatch):
    """A power cut leaves the whole file under its name, or no file: bytes first, then the name."""
    path, events = tmp_path / "new" / "clip.mp4", []
    temp = tmp_path / "temp"
    temp.write_bytes(b"clip")
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(handle):
        events.append(("fsync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def noting_replace(self, target):
        events.append(("rename", str(self), str(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    files.commit_file(temp, path)
    assert events == [
        ("fsync", str(temp)),
        ("rename", str(temp), str(path)),
        ("fsync", str(path.parent)),
    ]


@pytest.mark.parametrize("whole", [b"", b"first\n", b"first"], ids=["new", "ended", "without-its-end"])
def test_of_lines_that_do_not_fit_on_the_disk_none_is_added(tmp_path, whole):
    path, rows = tmp_path / "rows.csv", b"".join(b"row %d\n" % i for i in range(40))
    path.write_bytes(whole + b"half a ro")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"), path.open("ab+") as file:
            files.append_durably(file, whole, rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == whole
    with path.open("ab+") as file:
        files.append_durably(file, whole, rows)
    assert path.read_bytes() == (b"first\n" if whole else b"") + rows
