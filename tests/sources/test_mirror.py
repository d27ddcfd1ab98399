"""The mirror's tars: only what is wanted is unpacked, broken connections are taken up again."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.archives import TarSite, pack, special, tar_site

from dancecli.core.records import OutcomeClass
from dancecli.engine.worker import Halted
from dancecli.sources.failures import Failure
from dancecli.sources.mirror import ResumingStream, members

NOISE = bytes((i * 7919) % 251 for i in range(400_000))
WANTED = {("-wanted1", 0, 10_000), ("wanted2", 5_000, 15_000)}
TAR = {
    "k700_train_001/unwanted_000000_000010.mp4": NOISE,
    "k700_train_001/-wanted1_000000_000010.mp4": b"first" + NOISE,
    "../../../wanted2_000005_000015.mp4": b"second",
    "k700_train_001/readme.txt": b"hello",
}


@pytest.fixture
def site() -> Iterator[TarSite]:
    with tar_site() as site:
        site.files["/a.tar.gz"] = pack(TAR)
        yield site


def unpack(site: TarSite, folder: Path) -> dict[str, bytes]:
    found = {}
    for member in members(f"{site.url}/a.tar.gz", WANTED, folder, lambda: None):
        assert len(list(folder.iterdir())) <= 1, "one member at a time"
        if member.key and member.path:
            found[member.key[0]] = member.path.read_bytes()
    assert not list(folder.iterdir())
    return found


EXPECTED = {"-wanted1": b"first" + NOISE, "wanted2": b"second"}


@pytest.mark.parametrize("compressed", [True, False])
def test_only_wanted_members(site: TarSite, tmp_path: Path, compressed: bool) -> None:
    site.files["/a.tar.gz"] = pack(TAR, compressed=compressed)
    (tmp_path / "here").mkdir()
    assert unpack(site, tmp_path / "here") == EXPECTED
    assert [p.name for p in tmp_path.iterdir()] == ["here"], "a name with ../ goes nowhere"


def test_links_and_devices_are_no_clips(site: TarSite, tmp_path: Path) -> None:
    name = "wanted2_000005_000015.mp4"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        site.files["/a.tar.gz"] = pack({name: special(name, kind, "/etc/passwd"), "x_0_1.mp4": b"x"})
        assert unpack(site, tmp_path) == {}


def test_taken_up_again_by_range(site: TarSite, tmp_path: Path) -> None:
    site.breaks = 3
    assert unpack(site, tmp_path) == EXPECTED
    assert [bool(asked) for _, asked in site.log] == [False, True, True, True]


def test_taken_up_again_without_ranges(site: TarSite, tmp_path: Path) -> None:
    site.breaks, site.ranges = 2, False
    assert unpack(site, tmp_path) == EXPECTED


def test_another_file_under_the_same_name_is_not_glued_on(site: TarSite, tmp_path: Path) -> None:
    def acquire() -> None:
        site.etag = f'"{len(site.log)}"'

    site.breaks = 1
    with pytest.raises(Failure) as caught:
        list(members(f"{site.url}/a.tar.gz", WANTED, tmp_path, acquire))
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.TRANSIENT, "changed")


def test_breaking_off_for_ever_is_transient(site: TarSite) -> None:
    site.breaks = 10**6
    site.files["/a.tar.gz"] = b"x"
    with pytest.raises(Failure) as caught:
        ResumingStream(f"{site.url}/a.tar.gz", lambda: None).read(10)
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.TRANSIENT, "truncated")
    assert len(site.log) == 4


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 99, pack(TAR)[:2000]])
def test_a_broken_tar(site: TarSite, tmp_path: Path, content: bytes) -> None:
    site.files["/a.tar.gz"] = content
    with pytest.raises(Failure) as caught:
        unpack(site, tmp_path)
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.CORRUPT, "broken-tar")


def test_not_there(site: TarSite, tmp_path: Path) -> None:
    del site.files["/a.tar.gz"]
    with pytest.raises(Failure) as caught:
        unpack(site, tmp_path)
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.PERMANENT, "http-404")


def test_told_to_leave(site: TarSite, tmp_path: Path) -> None:
    def halt() -> None:
        raise Halted

    with pytest.raises(Halted):
        list(members(f"{site.url}/a.tar.gz", WANTED, tmp_path, halt))
    assert site.log == []
