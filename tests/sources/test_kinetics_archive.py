"""The official archive: downloaded once, read in place, and one line when it cannot be downloaded."""

import functools
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.archives import tar_site

from dancecli.core.errors import InputError
from dancecli.core.labels import LabelSet
from dancecli.sources.kinetics_archive import SOURCES, read_archive

LABELS = LabelSet(("zumba",))
HEADER = "label,youtube_id,time_start,time_end,split\n"
MEMBERS = {
    "kinetics700_2020/train.csv": HEADER + "zumba,a,0,10,train\n",
    "kinetics700_2020/validate.csv": HEADER + "zumba,b,0,10,validate\n",
    "kinetics700_2020/test.csv": "youtube_id,time_start,time_end,split\nc,0,10,test\n",
    "kinetics700_2020/train.json": "{}",
    "../../evil.csv": HEADER + "zumba,evil,0,10,train\n",
}


def pack(path: Path, members: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("kinetics700_2020/val.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Path]:
    """A folder that is served, with `sources.toml` in it."""
    folder = tmp_path / "www"
    folder.mkdir()
    pack(folder / "k.tar.gz", MEMBERS)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    ) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/k.tar.gz"
        (folder / "sources.toml").write_text(f'[kinetics."700-2020"]\nannotations = "{url}"\n')
        yield folder
        server.shutdown()


def read(published: Path, edition: str = "700-2020") -> list[str]:
    listing = read_archive(
        edition, LABELS, sources=published / "sources.toml", cache=published.parent / "cache"
    )
    assert {s.dataset for s in listing.segments} == {"kinetics700-2020"}
    return [f"{s.video_id} {s.official_split}" for s in listing.segments]


def test_read_and_then_read_from_the_cache(published: Path) -> None:
    assert read(published) == ["a train", "b val"]
    (published / "k.tar.gz").unlink()
    assert read(published) == ["a train", "b val"]


def test_unknown_edition(published: Path) -> None:
    with pytest.raises(InputError, match="no Kinetics edition '900'") as caught:
        read(published, "900")
    assert "700-2020" in caught.value.hint


def test_an_archive_that_cannot_be_downloaded_is_reported(published: Path) -> None:
    (published / "k.tar.gz").unlink()
    with pytest.raises(InputError, match="cannot be downloaded from http") as caught:
        read(published)
    assert "--annotations" in caught.value.hint
    assert not list((published.parent / "cache").glob("*"))


def test_a_broken_archive_is_named(published: Path) -> None:
    whole = (published / "k.tar.gz").read_bytes()
    (published / "k.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"k\.tar\.gz: is a broken archive") as caught:
        read(published)
    assert "remove it" in caught.value.hint


def test_addresses_of_all_editions_ship() -> None:
    import tomllib

    known = tomllib.loads(SOURCES.read_text())["kinetics"]
    assert list(known) == ["400", "600", "700", "700-2020"]
    assert all(entry["annotations"].startswith("https://") for entry in known.values())


@pytest.mark.parametrize("length", ["known", "chunked"])
def test_an_archive_that_came_cut_short_is_not_kept(published: Path, length: str) -> None:
    with tar_site() as site:
        site.files["/k.tar.gz"] = (published / "k.tar.gz").read_bytes()
        site.length, site.breaks = length, 1
        text = f'[kinetics."700-2020"]\nannotations = "{site.url}/k.tar.gz"\n'
        (published / "sources.toml").write_text(text)
        with pytest.raises(InputError, match=r"cut short|cannot be downloaded"):
            read(published)
        assert not list((published.parent / "cache").iterdir())
        assert read(published) == ["a train", "b val"], "the next time it is downloaded again"
