"""A video site with films of known pictures, and lists for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers.numbered_video import make_video

from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.demo.video_site import Fault, VideoSite

HEADER = "label,youtube_id,time_start,time_end,split\n"


@dataclass
class ServedVideos:
    """A site, its films and a list of what is wanted of it."""

    site: VideoSite
    source_videos: Path
    list: Path
    faults: dict[str, Fault | Sequence[Fault]] = field(default_factory=dict)

    def want(self, *rows: str) -> None:
        """Write the list; a row is `label,id,start,end`."""
        self.list.write_text(HEADER + "".join(f"{row},train\n" for row in rows))

    def settings(self, **changed: object) -> FetchSettings:
        plain: dict[str, object] = {
            "annotations": (self.list,),
            "url_template": self.site.url_template,
            "workers": 2,
            "backoff_s": 0.05,
            "min_free_gb": 0.0,
        }
        return FetchSettings(**{**plain, **changed})  # type: ignore[arg-type]

    @property
    def asked(self) -> list[str]:
        return [request.video_id for request in self.site.log]


@pytest.fixture(scope="session")
def source_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds at 25 frames a second, with sound."""
    return make_video(tmp_path_factory.mktemp("films") / "film.mp4", 6)


@pytest.fixture
def served(tmp_path: Path, source_video: Path) -> Iterator[ServedVideos]:
    folder = tmp_path / "films"
    folder.mkdir()
    faults: dict[str, Fault | Sequence[Fault]] = {}

    def resolve(video_id: str) -> Path | None:
        path = folder / f"{video_id}.mp4"
        return path if path.exists() else source_video

    with VideoSite(resolve, faults) as site:
        yield ServedVideos(site, folder, tmp_path / "list.csv", faults)
