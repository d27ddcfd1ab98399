"""Passwords, tokens, cookies and signed addresses reach no ledger, log, page or message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import video_site
from helpers.archives import TarSite, tar_site
from helpers.builders import Ran
from helpers.video_site import ServedVideos

from dancecli.demo.video_site import Fault
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
SECRETS = {
    "password in the address": "pa55-of-address",
    "signature in the address": "s1gnature-of-address",
    "token in the address": "t0ken-of-address",
    "password of the mirror": "pa55-of-mirror",
    "signature of the mirror": "s1gnature-of-mirror",
    "cookie": "c00kie-value",
    "PO token": "p0token-value",
    "visitor data": "v1sitor-value",
    "password of an account": "acc0unt-password",
    "header": "h3ader-value",
}


FAULTS = [None, Fault(status=403), Fault(status=404), Fault(html=True, text="all of them")]


@pytest.mark.parametrize("fault", FAULTS)
def test_ten_planted_secrets_are_found_nowhere(
    served: ServedVideos, workspace: Workspace, tmp_path: Path, dance: Callable[..., Ran], fault: Fault | None
) -> None:
    assert len(SECRETS) == 10
    if fault is not None and fault.text:
        # A page that repeats all that it was sent.
        fault = Fault(html=True, text="; ".join(f"token={value}" for value in SECRETS.values()))
    served.site.everywhere = fault
    served.want("zumba,a,0,1", "tango,b,0,1")
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(
        f"# Netscape HTTP Cookie File\n.127.0.0.1\tTRUE\t/\tFALSE\t2000000000\tSID\t{SECRETS['cookie']}\n"
    )
    with tar_site() as mirror:
        ran = [
            dance(*_command(served, mirror, cookies)),
            dance("history", "a_0_1000"),
            dance("status"),
            dance("stats", "--json"),
        ]
    texts = {f"stdout and stderr of {i}": one.out + one.err for i, one in enumerate(ran)}
    for path in workspace.root.rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")
    assert any("ledger.db" in name for name in texts)
    for what, secret in SECRETS.items():
        assert [where for where, text in texts.items() if secret in text] == [], what


def _command(served: ServedVideos, mirror: TarSite, cookies: Path) -> list[str]:
    def signed(template: str, password: str, query: str) -> str:
        return template.replace("http://", f"http://me:{password}@") + f"?{query}"

    address = signed(
        served.site.url_template,
        SECRETS["password in the address"],
        f"sig={SECRETS['signature in the address']}&token={SECRETS['token in the address']}",
    )
    mirror_address = signed(
        mirror.template,
        SECRETS["password of the mirror"],
        f"X-Amz-Signature={SECRETS['signature of the mirror']}",
    )
    tokens = f"youtube:po_token=web.gvs+{SECRETS['PO token']};visitor_data={SECRETS['visitor data']}"
    return [
        "fetch",
        *(
            "--annotations",
            str(served.list),
            "--source",
            "mirror,youtube",
            "--min-free",
            "0",
            "--workers",
            "2",
        ),
        *("--url-template", address, "--mirror-template", mirror_address),
        *("--cookies", str(cookies), "--extractor-args", tokens),
        *("--ytdlp", "username=me", "--ytdlp", f"password={SECRETS['password of an account']}"),
        *("--ytdlp", f"add-headers=X-Secret:{SECRETS['header']}"),
    ]
