"""The mirror's tars: only what is wanted is unpacked, broken connections are taken up again."""

import tarfile
import zlib
from collections.abc import Callable, Iterator
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


def fails(site: TarSite, folder: Path, acquire: Callable[[], None] = lambda: None) -> Failure:
    with pytest.raises(Failure) as caught:
        list(members(f"{site.url}/a.tar.gz", WANTED, folder, acquire))
    return caught.value


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
    failure = fails(site, tmp_path, acquire)
    assert (failure.outcome, failure.reason) == (OutcomeClass.TRANSIENT, "changed")
    assert site.if_range == ["", '"0"'], "a server sends another file whole only if it is asked to"


@pytest.mark.parametrize(
    ("lie", "ranges", "reason"),
    [
        ("range", True, "bad-range"),
        ("missing", True, "bad-range"),
        ("unasked", True, "bad-range"),
        ("total", True, "changed"),
        ("size", False, "changed"),
    ],
)
def test_a_server_that_lies_about_ranges_is_not_believed(
    site: TarSite, tmp_path: Path, lie: str, ranges: bool, reason: str
) -> None:
    site.breaks, site.lie, site.ranges = 1, lie, ranges
    failure = fails(site, tmp_path)
    assert (failure.outcome, failure.reason) == (OutcomeClass.TRANSIENT, reason)


@pytest.mark.parametrize("length", ["none", "chunked"])
def test_a_tar_of_unknown_size_is_known_whole_by_its_end_mark(
    site: TarSite, tmp_path: Path, length: str
) -> None:
    site.length = length
    assert unpack(site, tmp_path) == EXPECTED


def test_a_broken_chunked_transfer_is_resumed(site: TarSite, tmp_path: Path) -> None:
    site.length, site.breaks = "chunked", 2
    assert unpack(site, tmp_path) == EXPECTED
    assert len(site.log) == 3


def boundary(*names: str) -> int:
    """Where in the plain tar of these members the end mark begins."""
    return sum(512 + -(-len(TAR[name]) // 512) * 512 for name in names)


@pytest.mark.parametrize("length", ["known", "none", "chunked"])
@pytest.mark.parametrize("cut", ["between members", "in a header", "in a member", "before the end mark"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_tar_that_ends_early_is_transient(
    site: TarSite, tmp_path: Path, length: str, cut: str, compressed: bool
) -> None:
    """The mirror's own file is cut, so that all bytes came that were promised: no tombstones for that."""
    names = list(TAR)
    at = {
        "between members": boundary(*names[:2]),
        "in a header": boundary(*names[:2]) + 100,
        "in a member": boundary(*names[:1]) + 512 + 70_000,
        "before the end mark": boundary(*names),
    }[cut]
    plain = pack(TAR, compressed=False)[:at]
    packed = zlib.compressobj(wbits=31)
    whole = packed.compress(plain) + packed.flush(zlib.Z_FULL_FLUSH)
    site.files["/a.tar.gz"] = whole if compressed else plain
    site.length = length
    failure = fails(site, tmp_path)
    assert (failure.outcome, failure.reason) == (OutcomeClass.TRANSIENT, "truncated")


def test_a_member_that_is_no_clip_by_its_size_is_not_unpacked(
    site: TarSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tarfile.TarInfo("wanted2_000005_000015.mp4")
    header.size = 2 << 30
    site.files["/a.tar.gz"] = header.tobuf() + NOISE
    found = members(f"{site.url}/a.tar.gz", WANTED, tmp_path, lambda: None)
    assert next(found).key is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(Failure, match="truncated"):
        list(found)


def test_secrets_in_the_address_are_not_told(site: TarSite, tmp_path: Path) -> None:
    secret = site.url.replace("http://", "http://user:pa55@") + "/a.tar.gz?X-Amz-Signature=S3CRET"
    for body in (None, b"x", pack(TAR)[:1000]):
        site.files.pop("/a.tar.gz", None)
        if body is not None:
            site.files["/a.tar.gz"] = body
        with pytest.raises(Failure) as caught:
            list(members(secret, WANTED, tmp_path, lambda: None))
        assert "S3CRET" not in caught.value.text
        assert "pa55" not in caught.value.text
    with pytest.raises(Failure) as caught:
        list(members("http://u:captcha1@127.0.0.1:9/?k=captcha", WANTED, tmp_path, lambda: None))
    assert caught.value.reason == "unreachable", "the address itself is not classified"
    assert "captcha" not in caught.value.text


def test_breaking_off_for_ever_is_transient(site: TarSite) -> None:
    site.breaks = 10**6
    site.files["/a.tar.gz"] = b"x"
    with pytest.raises(Failure) as caught:
        ResumingStream(f"{site.url}/a.tar.gz", lambda: None).read(10)
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.TRANSIENT, "truncated")
    assert len(site.log) == 4


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 99, pack(TAR)[:20] + b"\xff" * 3000])
def test_a_broken_tar(site: TarSite, tmp_path: Path, content: bytes) -> None:
    site.files["/a.tar.gz"] = content
    failure = fails(site, tmp_path)
    assert (failure.outcome, failure.reason) == (OutcomeClass.CORRUPT, "broken-tar")


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


def test_user_and_password_of_the_address_are_sent_to_that_site_alone(site: TarSite) -> None:
    site.user, site.files["/x.tar"] = "me:p@ss/word", b"content"
    address = f"http://me:p%40ss%2Fword@{site.url.removeprefix('http://')}/x.tar?X-Signature=1"
    assert ResumingStream(address, lambda: None).read(100) == b"content"
    with pytest.raises(Failure) as caught:
        ResumingStream(site.url + "/x.tar", lambda: None).read(100)
    assert caught.value.reason == "http-401"
    with tar_site() as other:
        other.files["/x.tar"] = b"elsewhere"
        site.moved_to = other.url
        assert ResumingStream(address, lambda: None).read(100) == b"elsewhere"
        assert other.authorizations == [""]
