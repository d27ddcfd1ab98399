"""Ids and labels of a list reach no path outside the workspace and no option of a program."""

import csv
import io
import re
from fractions import Fraction
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dancecli.core.errors import InputError
from dancecli.core.labels import LabelSet
from dancecli.core.records import Segment
from dancecli.dataset.fetch.jobs import plan_source
from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.sources.kinetics import read_lists
from dancecli.sources.local import parse_clip_name
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import trim_args
from dancecli.video.source import SourceFacts

ROOT = Path("/nowhere/space")
FACTS = SourceFacts(Fraction(25), 60_000, has_audio=True, longest_frame_s=Fraction(2, 25))
WICKED = (
    *("..", "../x", "/etc/passwd", "a/b", "a\\b", "~", ".", "con", "a:b", "\u202e", "caf\u00e9"),
    *("-", "--", "-i", "--exec", "-vf", "--exec=rm -rf ~", "\uff0d\uff0d", "@a", "#a"),
    *("$(id)", "`id`", "a;b", "a|b", "a b", "%(id)s", "{video_id}", "a%00b", "a?b#c", "a&list=b"),
    *("a\nb", "a\r\nb", "a\0b", "", " ", "x" * 65, "x" * 300),
)
ids = st.one_of(
    st.sampled_from(WICKED),
    st.text(max_size=300),
    st.text(alphabet="-_.aZ0/\\ \n\0%~$", max_size=12),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
SLOW = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def listed(folder: Path, label: str, video_id: str) -> list[Segment]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([("label", "youtube_id", "time_start", "time_end"), (label, video_id, 0, 10)])
    path = folder / "list.csv"
    path.write_text(text.getvalue(), encoding="utf-8", errors="replace", newline="")
    return read_lists([path], LabelSet((label,))).segments


@SLOW
@given(ids)
def test_any_id_is_refused_in_one_line_or_harmless(tmp_path: Path, video_id: str) -> None:
    try:
        (segment,) = listed(tmp_path, "zumba", video_id)
    except InputError as error:
        assert len(error.message.splitlines()) == 1
        assert len(error.message) < 400 + len(str(tmp_path))
        return
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", segment.video_id)
    workspace = Workspace(ROOT)
    target = workspace.clip(segment.clip_id)
    assert target.parent.parent == ROOT / "clips"
    assert target.resolve().is_relative_to(ROOT)
    (job,) = plan_source("youtube", ROOT, ROOT / "tmp", FetchSettings(), [segment]).jobs
    assert job.cutter.temp.parent == ROOT / "tmp"
    args = trim_args(job.cutter.temp / "source.mp4", FACTS, 0, 10_000, target)
    named = [arg for arg in args if str(ROOT) in arg]
    assert len(named) == 2
    assert all(arg.startswith("/") for arg in named)


@SLOW
@given(st.one_of(st.sampled_from(WICKED), st.text(min_size=1, max_size=300)))
def test_a_label_is_in_no_path(label: str) -> None:
    segment = Segment("video", 0, 10_000, label, "train")
    assert segment.clip_id == "video_0_10000"
    plain = Segment("video", 0, 10_000, "zumba", "train")
    # The mirror's tars are named by a class's number; the label is only looked up.
    (job,) = plan_source(
        "mirror", ROOT, ROOT / "tmp", FetchSettings(), [segment, plain][label == "zumba" :]
    ).jobs
    assert job.cutter.temp == ROOT / "tmp" / "mirror-train-700"
    assert [s.label for s in job.segments] == ["zumba"]


@SLOW
@given(st.one_of(ids, ids.map(lambda i: f"{i}_000001_000011.mp4")))
def test_a_name_in_a_tar_or_a_folder_gives_a_checked_id_or_nothing(name: str) -> None:
    found = parse_clip_name(name)
    if found is not None:
        video_id, start_ms, end_ms = found
        segment = Segment(video_id, start_ms, end_ms, "zumba")
        assert Workspace(ROOT).clip(segment.clip_id).parent.parent == ROOT / "clips"
