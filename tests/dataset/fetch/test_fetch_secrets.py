"""Passwords, tokens, cookies and signed addresses reach no ledger, log, page or message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers import video_site
from helpers.archives import TarSite, pack, tar_site
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
EVERYTHING = "; ".join(f"token={value}" for value in SECRETS.values())
FAULTS = {
    "none": None,
    "403": Fault(status=403),
    "404": Fault(status=404),
    # A page that repeats all that it was sent.
    "page": Fault(html=True, text=EVERYTHING),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_ten_planted_secrets_are_found_nowhere(
    served: ServedVideos,
    workspace: Workspace,
    tmp_path: Path,
    source_video: Path,
    dance: Callable[..., Ran],
    fault: str,
) -> None:
    assert len(SECRETS) == 10
    served.site.everywhere = FAULTS[fault]
    served.want("zumba,a,0,6", "zumba,b,0,1")
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(
        f"# Netscape HTTP Cookie File\n.127.0.0.1\tTRUE\t/\tFALSE\t2000000000\tSID\t{SECRETS['cookie']}\n"
    )
    with tar_site() as mirror:
        mirror.user = f"me:{SECRETS['password of the mirror']}"
        mirror.files["/train/700.tar.gz"] = pack({"a_000000_000006.mp4": source_video.read_bytes()})
        site = _site(served, mirror, cookies)
        ran = [
            dance("fetch", "--source", "mirror,youtube", *_lists(served), "--workers", "2", *site),
            dance("doctor", "--site", "b", *site),
            dance("history", "a_0_6000"),
            dance("history", "b_0_1000"),
            dance("status"),
            dance("stats"),
            dance("split", "--subset", "1"),
            dance("export", "--format", "csv", "--to", str(workspace.root / "exported")),
        ]
    got = sorted(path.stem for path in (workspace.root / "clips").rglob("*.mp4"))
    assert got == ["a_0_6000", *(["b_0_1000"] if fault == "none" else [])], "the secrets were of use"
    texts = {f"stdout and stderr of {i}": one.out + one.err for i, one in enumerate(ran)}
    for path in workspace.root.rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            texts[f"rows of {path}"] = f"{table.schema.metadata} {table.to_pylist()}"
    assert any("ledger.db" in name for name in texts)
    for what, secret in SECRETS.items():
        assert [where for where, text in texts.items() if secret in text] == [], what


def _lists(served: ServedVideos) -> tuple[str, ...]:
    return ("--annotations", str(served.list), "--min-free", "0")


def _site(served: ServedVideos, mirror: TarSite, cookies: Path) -> tuple[str, ...]:
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
    return (
        *("--url-template", address, "--mirror-template", mirror_address),
        *("--cookies", str(cookies), "--extractor-args", tokens),
        *("--ytdlp", "username=me", "--ytdlp", f"password={SECRETS['password of an account']}"),
        *("--ytdlp", f"add-headers=X-Secret:{SECRETS['header']}"),
    )
