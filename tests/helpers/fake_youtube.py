"""YouTube as yt-dlp's own extractor meets it: its requests are answered here, none leaves the machine.

What the extractor makes of an answer is then what a user would see. `install` replaces the one
function of yt-dlp that contacts a site; `for_workers` does so in the processes of a command.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_MIME = 'video/mp4; codecs="avc1.42001E, mp4a.40.2"'


@dataclass(frozen=True)
class Answers:
    """What the site does.

    Attributes:
        video: the file that is sent.
        reason: what the player says instead of a video; empty for a video.
        playability: the status that goes with it.
        pages: HTTP status of pages and interfaces; 200 for an answer.
        media: HTTP status of the video's address.
        formats: whether the player offers a file.
        log: a file that gets one line for each request: the path of its address.
    """

    video: str = ""
    reason: str = ""
    playability: str = "ERROR"
    pages: int = 200
    media: int = 200
    formats: bool = True
    log: str = ""


def install(answers: Answers, patch: Any = None) -> None:
    """Answer all requests of yt-dlp in this process; `patch` is pytest's, to undo it."""
    import yt_dlp

    def urlopen(_: Any, request: Any) -> Any:
        return _answer(answers, request if isinstance(request, str) else request.url)

    (patch.setattr if patch else setattr)(yt_dlp.YoutubeDL, "urlopen", urlopen)


def for_workers(answers: Answers, folder: Path) -> dict[str, str]:
    """Give the environment in which all Python processes have the site installed."""
    helpers = Path(__file__).parents[1]
    (folder / "answers.json").write_text(json.dumps(asdict(answers)))
    (folder / "sitecustomize.py").write_text(
        "import json, pathlib\n"
        "from helpers.fake_youtube import Answers, install\n"
        f"install(Answers(**json.loads(pathlib.Path({str(folder / 'answers.json')!r}).read_text())))\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(helpers), os.environ.get("PYTHONPATH", "")])}


def _answer(answers: Answers, url: str) -> Any:
    from yt_dlp.networking import Response
    from yt_dlp.networking.exceptions import HTTPError

    parts = urlsplit(url)
    if answers.log:
        with Path(answers.log).open("a") as log:
            log.write(f"{parts.path}\n")
    media = "googlevideo" in parts.netloc
    status = answers.media if media else answers.pages
    if status != 200:
        raise HTTPError(Response(io.BytesIO(), url, {}, status=status))
    video_id = (parse_qs(parts.query).get("v") or ["jNQXAC9IVRw"])[0]
    kind = "text/html"
    if media:
        body, kind = Path(answers.video).read_bytes(), "video/mp4"
    elif parts.path == "/watch":
        player = json.dumps(_player(answers, video_id))
        data = '{"contents": {"none": true}}'
        body = "".join(
            f"<script>var {name} = {value};</script>"
            for name, value in (("ytInitialPlayerResponse", player), ("ytInitialData", data))
        ).encode()
    elif parts.path.startswith("/embed/"):
        body = b'<script>ytcfg.set({"INNERTUBE_CONTEXT": {"client": {"clientName": "WEB"}}});</script>'
    elif parts.path.endswith("/player"):
        body, kind = json.dumps(_player(answers, video_id)).encode(), "application/json"
    else:
        body = b"{}"
    return Response(io.BytesIO(body), url, {"Content-Type": kind, "Content-Length": str(len(body))})


def _player(answers: Answers, video_id: str) -> dict[str, Any]:
    about = {"videoId": video_id, "title": "t", "lengthSeconds": "6", "author": "a", "channelId": "UC"}
    if answers.reason:
        return {
            "playabilityStatus": {"status": answers.playability, "reason": answers.reason},
            "videoDetails": about,
        }
    file = {
        "itag": 18,
        "url": "https://rr1.googlevideo.com/videoplayback?x=1",
        "mimeType": _MIME,
        "width": 640,
        "height": 360,
        "qualityLabel": "360p",
        "bitrate": 1000,
    }
    formats = [file] if answers.formats else []
    return {
        "playabilityStatus": {"status": "OK"},
        "videoDetails": about,
        "streamingData": {"formats": formats},
    }
