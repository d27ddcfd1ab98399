"""A site that blocks this address: how many requests it gets before the pause, and before the stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers import fake_youtube, video_site
from helpers.fake_youtube import Answers
from helpers.video_site import ServedVideos

from dancecli.core.progress import Progress, Reporter
from dancecli.dataset.fetch.fetch import fetch
from dancecli.demo.video_site import Fault
from dancecli.engine.rate_limit import BreakerSettings
from dancecli.sources.failures import TEXTS
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
BREAKER = BreakerSettings(first_wait_s=0.02)
BLOCKS = {
    "403": Fault(status=403),
    "429": Fault(status=429),
    "500": Fault(status=500),
    "503, come back": Fault(status=503, retry_after="0"),
    "a page": Fault(html=True),
    # The connection is closed before the first byte.
    "nothing": Fault(cut_at=0.0),
}
# Of the texts of each reason the first; test_failures.py reads all of them.
for _words, _, _reason in TEXTS:
    if _reason in ("bot-check", "address-blocked", "rate-limit", "sign-in"):
        BLOCKS.setdefault(_reason, Fault(html=True, text=_words))
MOST_BEFORE_THE_PAUSE, MOST_BEFORE_THE_STOP = 12, 40


@pytest.mark.parametrize("block", BLOCKS)
def test_a_site_that_blocks_is_soon_left_alone(
    served: ServedVideos, workspace: Workspace, block: str
) -> None:
    served.want(*(f"zumba,video{i},0,1" for i in range(200)))
    served.site.everywhere = BLOCKS[block]
    before_pause: list[int] = []

    def watch(now: Progress) -> None:
        if "paused" in now.text:
            before_pause.append(len(served.asked))

    settings = served.settings(workers=8, breaker=BREAKER, rate_per_hour=0.0)
    result = fetch(workspace, settings, Reporter(watch))
    assert before_pause[0] <= MOST_BEFORE_THE_PAUSE
    assert len(served.asked) <= MOST_BEFORE_THE_STOP
    assert "stopped answering" in result.stopped
    assert result.outcomes["permanent"] == 0, "no tombstones"


def test_a_site_that_dies_in_the_middle_of_a_run(served: ServedVideos, workspace: Workspace) -> None:
    served.want(*(f"zumba,video{i:03d},0,1" for i in range(64)))
    before: list[int] = []
    before_pause: list[int] = []

    def watch(now: Progress) -> None:
        if now.done >= 50 and not before:
            served.site.everywhere = Fault(status=403)
            before.append(len(served.asked))
        if "paused" in now.text:
            before_pause.append(len(served.asked))

    settings = served.settings(workers=8, breaker=BREAKER, rate_per_hour=0.0)
    result = fetch(workspace, settings, Reporter(watch))
    assert before_pause[0] - before[0] <= MOST_BEFORE_THE_PAUSE
    assert len(served.asked) - before[0] <= MOST_BEFORE_THE_STOP
    assert result.num_done >= 50
    served.site.everywhere = None
    assert fetch(workspace, settings).complete, "what was refused is pending"


YOUTUBE = {
    "403 to all": Answers(pages=403),
    "403 to media": Answers(media=403),
    "429": Answers(pages=429),
    "bot check": Answers(reason="Sign in to confirm you\u2019re not a bot", playability="LOGIN_REQUIRED"),
    "rate limit": Answers(reason="This content isn't available, try again later."),
    "address": Answers(reason="The page needs to be reloaded."),
    "no formats": Answers(formats=False),
}


@pytest.mark.parametrize("block", YOUTUBE)
def test_youtube_that_blocks_is_soon_left_alone(
    served: ServedVideos, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str
) -> None:
    """With yt-dlp's own extractor, all of whose requests are counted: up to five for one video."""
    log = tmp_path / "log"
    answers = replace(YOUTUBE[block], log=str(log))
    for name, value in fake_youtube.for_workers(answers, tmp_path).items():
        monkeypatch.setenv(name, value)
    served.want(*(f"zumba,video{i:06d},0,1" for i in range(60)))
    before_pause: list[int] = []

    def watch(now: Progress) -> None:
        if "paused" in now.text:
            before_pause.append(len(log.read_text().splitlines()))

    settings = served.settings(
        url_template="", sources=("youtube",), workers=8, breaker=BREAKER, rate_per_hour=0.0
    )
    result = fetch(workspace, settings, Reporter(watch))
    requests = log.read_text().splitlines()
    assert requests, "the site is the one of this test"
    assert before_pause[0] <= MOST_BEFORE_THE_PAUSE
    assert len(requests) <= MOST_BEFORE_THE_STOP
    assert "stopped answering" in result.stopped
    assert result.outcomes["permanent"] == 0, "no tombstones"
