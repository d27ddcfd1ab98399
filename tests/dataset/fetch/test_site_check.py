"""`dance doctor --site`: what a site requires, by one video and a few further attempts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import fake_youtube, video_site
from helpers.archives import tar_site
from helpers.builders import Ran
from helpers.fake_youtube import Answers
from helpers.video_site import ServedVideos

from dancecli.core.errors import InputError
from dancecli.core.progress import SILENT
from dancecli.dataset.fetch import site_check
from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.dataset.fetch.site_check import SiteReport, check_site
from dancecli.demo.video_site import Fault, VideoSite
from dancecli.sources.failures import TEXTS
from dancecli.sources.remedies import Remedy, advice_for, remedies_for

source_video, served = video_site.source_video, video_site.served
COOKIE = "# Netscape HTTP Cookie File\n.127.0.0.1\tTRUE\t/\tFALSE\t2000000000\tSID\tS3CRETvalue\n"
OLD, NEW = 60, 3


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_check, "_SOCKET_TIMEOUT_S", 0.5)
    monkeypatch.setattr(site_check, "_has_ipv6", lambda: False)
    monkeypatch.setattr("dancecli.sources.youtube._pause_s", lambda n: 0.0)


def check(settings: FetchSettings, age_days: int = OLD) -> SiteReport:
    return check_site(settings, "jNQXAC9IVRw", age_days, SILENT)


def tried(report: SiteReport) -> dict[str, str]:
    return {one.how: one.failure.reason if one.failure else "ok" for one in report.attempts}


def test_a_site_that_sends_the_video(served: ServedVideos) -> None:
    report = check(served.settings())
    assert (tried(report), report.remedies, report.site) == ({"as given": "ok"}, (), "127.0.0.1")
    assert report.attempts[0].found.startswith("downloaded 6 s of video, 0.")
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    ("fault", "reason", "first"),
    [
        (Fault(status=403), "http-403", Remedy.COOKIES),
        (Fault(status=404), "http-404", Remedy.COOKIES),
        (Fault(status=429), "http-429", Remedy.WAIT),
        (Fault(status=500), "http-500", Remedy.WAIT),
        (Fault(status=503), "http-503", Remedy.WAIT),
        (Fault(html=True), "not-a-video", Remedy.NETWORK),
        (Fault(html=True, text="unusual traffic"), "bot-check", Remedy.WAIT),
        (Fault(html=True, text="Please sign in"), "sign-in", Remedy.WAIT),
        (Fault(cut_at=0.0), "truncated", Remedy.NETWORK),
        (Fault(cut_at=0.5), "truncated", Remedy.NETWORK),
        (Fault(stall_at=0.5), "timeout", Remedy.NETWORK),
    ],
)
def test_each_fault_of_a_site_has_its_remedy(
    served: ServedVideos, fault: Fault, reason: str, first: Remedy
) -> None:
    served.site.everywhere = fault
    report = check(served.settings())
    assert tried(report) == {"as given": reason}
    assert report.remedies[0] == first
    about_youtube = {Remedy.UPDATE, Remedy.PO_TOKEN, Remedy.MIRROR}
    assert not about_youtube.intersection(report.remedies), "it is not YouTube"


def test_a_site_that_names_a_time_is_asked_once_and_the_time_is_shown(served: ServedVideos) -> None:
    served.site.everywhere = Fault(status=429, retry_after="1800")
    report = check(served.settings(ytdlp=("user-agent=x",)))
    assert report.remedies[0] == "wait 30 minutes, as the site asks, then use a lower --rate"
    assert len(served.asked) == 1


def test_nobody_listens() -> None:
    report = check(FetchSettings(url_template="http://127.0.0.1:9/{video_id}"))
    assert tried(report) == {"as given": "unreachable"}
    assert report.remedies == (Remedy.NETWORK, Remedy.ADDRESS)


def test_a_site_that_wants_cookies(served: ServedVideos, tmp_path: Path) -> None:
    served.site.everywhere = Fault(status=403, unless="Cookie")
    assert Remedy.COOKIES in check(served.settings()).remedies
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(COOKIE)
    assert check(served.settings(cookies=cookies)).remedies == ()
    served.site.everywhere = Fault(status=403)
    report = check(served.settings(cookies=cookies))
    assert Remedy.COOKIES not in report.remedies, "they are given, and do not help"
    assert cookies.read_text() == COOKIE


def test_a_site_that_another_address_reaches(served: ServedVideos, source_video: Path) -> None:
    served.site.everywhere = Fault(status=403)
    assert Remedy.ADDRESS in check(served.settings()).remedies
    with VideoSite(lambda _: source_video) as proxy:
        assert check(served.settings(ytdlp=(f"proxy=http://127.0.0.1:{proxy.port}",))).remedies == ()
        assert len(proxy.log) == 1


def test_an_option_that_is_the_fault_itself(served: ServedVideos) -> None:
    report = check(served.settings(ytdlp=("proxy=http://127.0.0.1:9",)))
    assert tried(report) == {"as given": "unreachable", "without options": "ok"}
    assert report.remedies == ("leave out the options for yt-dlp, or correct them: without them it works",)


@pytest.mark.parametrize("how", ["IPv4", "browser"])
def test_what_works_is_the_remedy(served: ServedVideos, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The further attempts differ in an option that this machine may lack; a header stands for it."""
    monkeypatch.setattr(site_check, "_has_ipv6", lambda: how == "IPv4")
    monkeypatch.setattr(site_check, "_can_imitate_browser", lambda: how == "browser")
    others = site_check._others

    def with_header(settings: FetchSettings, reason: str, **more: Any) -> dict[str, FetchSettings]:
        found = others(settings, reason, **more)
        assert found[how].ytdlp == ("force-ipv4" if how == "IPv4" else "impersonate=chrome",)
        return {how: replace(settings, ytdlp=("add-headers=X-Other:1",))}

    monkeypatch.setattr(site_check, "_others", with_header)
    served.site.everywhere = Fault(status=403, unless="X-Other")
    report = check(served.settings())
    assert tried(report) == {"as given": "http-403", how: "ok"}
    (remedy,) = report.remedies
    assert "it works" in remedy


def test_a_wrong_cookie_file_is_found_before_any_request(served: ServedVideos, tmp_path: Path) -> None:
    (tmp_path / "cookies.json").write_text("{}")
    with pytest.raises(InputError, match="is JSON"):
        check(served.settings(cookies=tmp_path / "cookies.json"))
    assert served.asked == []


NO_BOT = "Sign in to confirm you\u2019re not a bot"


@pytest.mark.parametrize(
    ("answers", "reason", "old", "new"),
    [
        (Answers(pages=403), "http-403", Remedy.UPDATE, Remedy.PO_TOKEN),
        (Answers(media=403), "http-403", Remedy.UPDATE, Remedy.PO_TOKEN),
        (Answers(pages=429), "http-429", Remedy.WAIT, Remedy.WAIT),
        (Answers(formats=False), "no-format", Remedy.UPDATE, Remedy.PO_TOKEN),
        (Answers(reason=NO_BOT, playability="LOGIN_REQUIRED"), "bot-check", Remedy.WAIT, Remedy.WAIT),
        (Answers(reason="Sign in to confirm your age"), "age-restricted", Remedy.COOKIES, Remedy.COOKIES),
        (Answers(reason="Private video"), "private", Remedy.VIDEO, Remedy.VIDEO),
        (Answers(reason="Video unavailable"), "unavailable", Remedy.VIDEO, Remedy.VIDEO),
        (Answers(reason="The page needs to be reloaded."), "address-blocked", Remedy.WAIT, Remedy.WAIT),
    ],
)
def test_what_youtube_requires(
    monkeypatch: pytest.MonkeyPatch, answers: Answers, reason: str, old: Remedy, new: Remedy
) -> None:
    fake_youtube.install(answers, monkeypatch)
    with tar_site() as mirror:
        number = min(site_check.mirror_numbers().values())
        mirror.files[f"/val/{number:03d}.tar.gz"] = b"x" * 1000
        settings = FetchSettings(mirror_template=mirror.template)
        reports = {age: check(settings, age) for age in (OLD, NEW)}
    assert [report.remedies[0] for report in reports.values()] == [old, new]
    about_us = old is not Remedy.VIDEO
    assert tried(reports[OLD]) == {"as given": reason, **({"mirror": "ok"} if about_us else {})}
    can_be_mirrored = Remedy.MIRROR in remedies_for(reason)
    assert (Remedy.MIRROR in reports[OLD].remedies) is can_be_mirrored
    gone = replace(settings, mirror_template="http://127.0.0.1:9/{split}/{number}.tar.gz")
    assert Remedy.MIRROR not in check(gone).remedies, "it does not answer either"


def test_youtube_sends_the_video(monkeypatch: pytest.MonkeyPatch, source_video: Path) -> None:
    fake_youtube.install(Answers(video=str(source_video)), monkeypatch)
    report = check(FetchSettings())
    assert (report.site, report.remedies) == ("YouTube", ())
    assert "6 s of video" in report.attempts[0].found


def test_there_is_something_to_try_about_every_failure() -> None:
    for _, _, reason in TEXTS:
        assert advice_for(reason)
    assert "PO token" in advice_for("bot-check")
    assert "pip install -U yt-dlp" in advice_for("http-403")
    assert "network" in advice_for("unreachable")


def test_the_command(served: ServedVideos, tmp_path: Path, dance: Callable[..., Ran]) -> None:
    site = ("doctor", "--site", "v", "--url-template", served.site.url_template)
    ran = dance(*site, "--json")
    assert [finding["what"] for finding in ran.json][-1] == "127.0.0.1"
    assert ran.json[-1]["ok"]
    assert not any(finding["what"] == "torch" for finding in ran.json), "only what a fetch needs"
    served.site.everywhere = Fault(status=403)
    secret = ("--proxy", "http://me:pa55word@127.0.0.1:9")
    for more in ((), ("--json",)):
        ran = dance(*site, *secret, *more)
        assert ran.code == 3
        assert "pa55word" not in ran.out + ran.err
    assert {f["what"]: f["ok"] for f in ran.json if f["what"].startswith("127")} == {
        "127.0.0.1": False,
        "127.0.0.1: without options": False,
    }
    (tmp_path / "cookies.txt").write_text("{}")
    ran = dance(*site, "--cookies", str(tmp_path / "cookies.txt"), "--json")
    assert (ran.code, ran.json[-1]["ok"]) == (3, False)
    assert "is JSON" in ran.json[-1]["found"]


def test_the_settings_of_fetch_hold_for_it(
    served: ServedVideos, workspace: Any, dance: Callable[..., Ran]
) -> None:
    workspace.settings.write_text(f'version = 1\n[fetch]\nurl-template = "{served.site.url_template}"\n')
    assert dance("doctor", "--json", "--site").json[-1]["what"] == "127.0.0.1"
    assert served.asked == ["jNQXAC9IVRw"]
