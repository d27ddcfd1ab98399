"""A server of the app that is killed while several people write to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from dancecli.app.timelines import Recordings, read_timeline
from dancecli.core.hashing import keyed_uniform
from dancecli.core.records import Clip
from dancecli.storage import tables
from dancecli.storage.corrections import read_corrections
from dancecli.storage.workspace import Workspace

TOKEN = "the-token-of-the-benchmark"
# Two write corrections, two edit the timeline of a recording.
WRITERS = 4
# From the first write on.
_KILLED_WITHIN_S = 0.3
_FIRST_WITHIN_S = 30.0
_PROGRAM = """
import sys
from pathlib import Path
from dancecli.app.catalog import Catalog
from dancecli.app.server import listen, make_app, serve
from dancecli.storage.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
app = make_app(workspace, Catalog(workspace), sys.argv[2])
with listen("127.0.0.1", 0) as sock:
    print(sock.getsockname()[1], flush=True)
    serve(app, sock)
"""


@dataclass
class Tally:
    """What became of all writes, over all kills.

    Attributes:
        kills: how often the server was killed.
        acknowledged: texts that were saved, as their writers were told.
        unanswered: texts whose writers got no answer.
        lost: those of the first kind that are not there.
        doubled: texts that are there more than once.
        found: of those without an answer, how many are there.
    """

    kills: int = 0
    acknowledged: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    found: int = 0


def kill_while_writing(workspace: Workspace, kills: int) -> Tally:
    """Kill (SIGKILL) a server again and again among writes, and count what is there afterwards.

    Args:
        workspace: has clips, and one recording with a timeline.
        kills: how often.
    """
    tally = Tally()
    for kill in range(kills):
        _one_life(workspace, kill, tally)
        tally.kills += 1
    there = Counter(row.new for row in read_corrections(workspace))
    (recording,) = Recordings(workspace).all().values()
    read_timeline(workspace, recording)
    lines = workspace.timeline(recording.name).read_bytes()
    whole = lines[: lines.rfind(b"\n") + 1]
    there += Counter(json.loads(line)["why"] for line in whole.splitlines())
    tally.lost = [text for text in tally.acknowledged if not there[text]]
    tally.doubled = [text for text in (*tally.acknowledged, *tally.unanswered) if there[text] > 1]
    tally.found = sum(there[text] > 0 for text in tally.unanswered)
    return tally


def _one_life(workspace: Workspace, kill: int, tally: Tally) -> None:
    words = [sys.executable, "-c", _PROGRAM, str(workspace.root), TOKEN]
    clip = tables.read(workspace.clips, Clip)[0].clip_id
    (name,) = Recordings(workspace).all()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise AssertionError
        address = f"http://127.0.0.1:{int(server.stdout.readline())}"
        first = threading.Event()

        def work(writer: int) -> None:
            for number in range(10_000):
                text = f"kill {kill} writer {writer} number {number}"
                try:
                    done = _edit(address, name, number, text) if writer % 2 else _note(address, clip, text)
                except (OSError, http.client.HTTPException):
                    tally.unanswered.append(text)
                    return
                if done:
                    tally.acknowledged.append(text)
                    first.set()

        with ThreadPoolExecutor(WRITERS) as pool:
            writers = [pool.submit(work, i) for i in range(WRITERS)]
            written = first.wait(_FIRST_WITHIN_S)
            time.sleep(_KILLED_WITHIN_S * keyed_uniform("kill", str(kill)))
            os.kill(server.pid, signal.SIGKILL)
        for writer in writers:
            # A refusal, which would end this writer's part of the test without a word.
            writer.result()
        if not written:
            raise AssertionError("nothing was written")


def _note(address: str, clip: str, text: str) -> bool:
    changes = [{"clip_id": clip, "field": "note", "new": text}]
    status, body = _ask(address, "/api/corrections", {"who": "ana", "changes": changes})
    if status != 200:
        raise AssertionError(body)
    return True


def _edit(address: str, name: str, number: int, text: str) -> bool:
    """Edit the timeline as it is now; whether nobody else was faster."""
    path = f"/api/timelines/{quote(name)}"
    base = json.loads(_ask(address, path)[1])["revision"]
    spans = [[0, 1000 + number, "a", None, True], [2000 + len(text), 3000 + number, text, None, True]]
    sent = {"base": base, "who": "ben", "action": "edit", "spans": spans, "why": text}
    status, body = _ask(address, path, sent)
    if status not in (200, 412):
        raise AssertionError(body)
    return status == 200


def _ask(address: str, path: str, body: object = None) -> tuple[int, bytes]:
    """Send what a page of the app sends."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    headers = {"Cookie": f"dance_app={TOKEN}", "Content-Type": "application/json", "Origin": address}
    try:
        method, content = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
