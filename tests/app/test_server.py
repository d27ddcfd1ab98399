"""The app's server as a program meets it: who is let in, what is answered, what is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from helpers import clip_workspace
from helpers.app_server import TOKEN, Site, served
from helpers.clip_workspace import LABELS

from dancecli.core.records import Clip
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections, corrections_file, read_corrections
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated


@pytest.fixture
def site(populated: Workspace) -> Iterator[Site]:
    with served(populated) as address:
        yield Site(address, populated)


def first(workspace: Workspace) -> Clip:
    return tables.read(workspace.clips, Clip)[0]


PLACES = ("/", "/api/about", "/api/clips", "/media/x", "/thumb/x", "/static/app.js", "/api/corrections")


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("cookie", ["", "dance_app=", "dance_app=wrong", f"other={TOKEN}"])
def test_without_the_token_nothing_is_shown(site: Site, path: str, cookie: str) -> None:
    answer = site.ask(path, Cookie=cookie)
    assert answer.status == 403
    assert b"dance app" in answer.body


def test_the_address_with_the_token_opens_the_app_and_hides_the_token(site: Site) -> None:
    answer = site.ask(f"/?token={TOKEN}&label=zumba", Cookie="")
    assert (answer.status, answer.headers["location"]) == (303, "/?label=zumba")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert site.ask("/?token=wrong", Cookie="").status == 403


@pytest.mark.parametrize("path", ["/", "/api/about", "/nothing", "/static/app.css"])
def test_every_answer_allows_nothing_from_elsewhere(site: Site, path: str) -> None:
    headers = site.ask(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_clips_are_found_counted_and_shown(site: Site) -> None:
    about = site.ask("/api/about").json
    assert about["clips"] == 5
    assert about["split"] == "full"
    assert about["facets"]["subset"] == {"train": 3, "val": 1, "test": 1}
    assert about["labels"] == list(LABELS)
    rows = site.ask("/api/clips").json["rows"]
    assert [row["clip_id"] for row in rows] == sorted(row["clip_id"] for row in rows)
    assert site.ask("/api/clips?subset=val").json["total"] == 1
    assert site.ask("/api/clips?label=zumba&subset=train").json["total"] == 2
    assert site.ask(f"/api/clips?text={rows[0]['clip_id'][:9].upper()}").json["rows"][0] == rows[0]
    assert site.ask("/api/clips?text=(%5B&sort=nonsense&offset=-4&flag=x'--").json["total"] == 0
    longest = site.ask("/api/clips?sort=longest").json["rows"]
    assert longest[0]["seconds"] == max(row["seconds"] for row in rows)


def test_a_clip_is_sent_by_range(site: Site) -> None:
    clip = first(site.workspace)
    content = (site.workspace.root / clip.path).read_bytes()
    assert site.ask(f"/media/{clip.clip_id}").body == content
    part = site.ask(f"/media/{clip.clip_id}", Range="bytes=100-199")
    assert (part.status, part.body) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"


def test_a_thumbnail_is_made_once(site: Site) -> None:
    clip = first(site.workspace)
    answer = site.ask(f"/thumb/{clip.clip_id}")
    assert answer.body.startswith(b"\xff\xd8")
    (kept,) = (site.workspace.root / "cache" / "thumbnails").rglob("*.jpg")
    made = kept.stat().st_mtime_ns
    (site.workspace.root / clip.path).write_bytes(b"broken")
    assert site.ask(f"/thumb/{clip.clip_id}").body == answer.body
    assert kept.stat().st_mtime_ns == made


def test_what_is_gone_or_broken_is_a_404(site: Site) -> None:
    clips = tables.read(site.workspace.clips, Clip)
    (site.workspace.root / clips[0].path).unlink()
    (site.workspace.root / clips[1].path).write_bytes(b"no video")
    assert site.ask(f"/media/{clips[0].clip_id}").status == 404
    assert site.ask(f"/thumb/{clips[0].clip_id}").status == 404
    assert site.ask(f"/thumb/{clips[1].clip_id}").status == 404


TRICKS = [
    "/media/..%2F..%2Fdance.toml", "/media/%2e%2e/ledger.db", "/thumb/..%2f..%2fetc%2fpasswd",
    "/static/..%2fserver.py", "/static/../server.py", "/media/%00", "/api/clips/..%2f..",
    "/media//etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_an_address_leads_nowhere_else(site: Site, path: str) -> None:
    (site.workspace.root / "dance.toml").write_text("version = 1\n")
    answer = site.ask(path)
    assert answer.status == 404
    assert b"import" not in answer.body
    assert b"root:" not in answer.body


def test_a_correction_is_a_row_and_is_shown(site: Site) -> None:
    clip = first(site.workspace)
    other = next(label for label in LABELS if label != clip.label)
    answer = site.correct({"clip_id": clip.clip_id, "field": "label", "new": other, "why": "looked"})
    assert answer.json == {"saved": 1}
    (row,) = read_corrections(site.workspace)
    assert (row.clip_id, row.field, row.old, row.new, row.who, row.why) == (
        clip.clip_id, "label", clip.label, other, "ana", "looked",
    )  # fmt: skip
    assert site.ask(f"/api/clips/{clip.clip_id}").json["label"] == other
    assert site.ask("/api/clips?changed=yes").json["total"] == 1
    site.correct({"clip_id": clip.clip_id, "field": "label", "new": clip.label})
    assert site.ask("/api/clips?changed=yes").json["total"] == 0
    assert site.ask("/api/corrections").json["total"] == 2


def test_what_the_command_line_changes_meanwhile_is_shown(site: Site) -> None:
    clips = tables.read(site.workspace.clips, Clip)
    append_corrections(site.workspace, [Correction(clips[0].clip_id, "exclude", "", "yes")])
    assert site.ask("/api/clips?changed=excluded").json["total"] == 1
    tables.write(site.workspace.clips, Clip, clips[:-1], tables.read_meta(site.workspace.clips))
    assert site.ask("/api/about").json["clips"] == len(clips) - 1
    assert site.ask(f"/api/clips/{clips[-1].clip_id}").status == 404
    # A note for a clip that is gone is refused, and no row names it again.
    noted = {"clip_id": clips[-1].clip_id, "field": "note", "new": "nice"}
    assert site.ask("/api/corrections", "POST", [noted]).status == 400
    assert len(read_corrections(site.workspace)) == 1


def test_what_cannot_be_read_again_leaves_all_as_it_was(site: Site) -> None:
    clips = tables.read(site.workspace.clips, Clip)
    label = clips[1].label
    query = {"label": label}
    shown = [row["clip_id"] for row in site.ask(f"/api/clips?{urlencode(query)}").json["rows"]]
    tables.write(site.workspace.clips, Clip, clips[1:], tables.read_meta(site.workspace.clips))
    site.workspace.suspects.write_bytes(b"no table")
    assert site.ask("/api/clips").status == 409
    many = {"query": query, "field": "exclude", "new": "yes", "expected": len(shown)}
    assert site.ask("/api/bulk", "POST", many).status == 409
    assert not read_corrections(site.workspace)
    site.workspace.suspects.unlink()
    assert site.ask("/api/clips").json["total"] == len(clips) - 1
    site.workspace.clips.unlink()
    answer = site.ask("/api/clips")
    assert (answer.status, b"there are no clips yet" in answer.body) == (409, True)


def test_several_people_write_at_once_without_loss(site: Site) -> None:
    from concurrent.futures import ThreadPoolExecutor

    clip_id = first(site.workspace).clip_id
    notes = [f"note {i}" for i in range(40)]

    def write(note: str) -> int:
        return site.correct({"clip_id": clip_id, "field": "note", "new": note}).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, notes)) == {200}
    assert sorted(row.new for row in read_corrections(site.workspace)) == sorted(notes)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": ""},
        {"Origin": "null"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
    ],
)
def test_another_page_changes_nothing(site: Site, headers: dict[str, str]) -> None:
    clip = first(site.workspace)
    answer = site.correct({"clip_id": clip.clip_id, "field": "exclude", "new": "yes"}, **headers)
    assert answer.status == 403
    assert read_corrections(site.workspace) == []


BAD = [
    b"{", b"[]", b'{"changes": []}', b'{"changes": [{"clip_id": "x", "field": "label", "new": "a"}]}',
    b'{"changes": [{"clip_id": "CLIP", "field": "color", "new": "red"}]}',
    b'{"changes": [{"clip_id": "CLIP", "field": "start_ms", "new": "1.5"}]}',
    b'{"changes": [{"clip_id": "CLIP", "field": "end_ms", "new": "' + b"9" * 1000 + b'"}]}',
    b'{"changes": [{"clip_id": "CLIP", "field": "label", "new": "walz"}]}',
    b'{"changes": [{"clip_id": "CLIP", "field": "exclude", "new": "perhaps"}]}',
    b'{"changes": [{"clip_id": "CLIP", "field": "note", "new": "a\\u0000b"}]}',
    b'{"changes": [{"clip_id": "CLIP", "field": "note"}]}', b'{"changes": {"clip_id": 1}}',
    b'{"changes": [{"clip_id": "CLIP", "field": "note", "new": "' + b"x" * 3000 + b'"}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_what_is_no_correction_is_refused_and_not_written(site: Site, body: bytes) -> None:
    clip = first(site.workspace)
    answer = site.ask("/api/corrections", "POST", body.replace(b"CLIP", clip.clip_id.encode()))
    assert answer.status == 400
    assert read_corrections(site.workspace) == []


def test_a_damaged_table_of_corrections_is_an_answer(site: Site) -> None:
    corrections_file(site.workspace).write_text("clip\na\n")
    answer = site.ask("/api/corrections")
    assert (answer.status, b"labels.csv:1: is no table of corrections" in answer.body) == (409, True)


def test_with_a_password_nothing_is_shown_without_it(populated: Workspace) -> None:
    with served(populated, password="sésame") as address:
        site = Site(address, populated)
        refused = site.ask("/")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="dance app"')
        for secret, status in (("x:sésame", 200), ("x:sesame", 401), ("sésame", 401)):
            key = base64.b64encode(secret.encode()).decode()
            assert site.ask("/api/about", Authorization=f"Basic {key}").status == status
        assert site.ask("/", Authorization="Basic ###").status == 401
        assert site.ask(f"/?token={TOKEN}").status == 401
