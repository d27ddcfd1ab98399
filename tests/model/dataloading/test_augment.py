"""Views augmented as they are read, against the files that `dance augment` makes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dancecli.core.augmentation import OPERATIONS, Op, draw, num_frames_after
from dancecli.core.errors import UsageError
from dancecli.model.dataloading.augment import AugmentedView, augmented
from dancecli.model.dataloading.views import view_chance, view_key
from dancecli.video.augment import augment_args, filters_of
from dancecli.video.decode import decode
from dancecli.video.ffmpeg import run_ffmpeg

BRIGHT = Op("jitter", (("brightness", 0.12), ("saturation", 0.6)))
DARK = Op("jitter", (("brightness", -0.15), ("saturation", 1.0)))
VIVID = Op("jitter", (("brightness", 0.0), ("saturation", 1.4)))
NOISE = Op("noise", (("sigma", 10.0), ("seed", 7.0)))
CASES = {
    "as it is": (),
    "hflip": (Op("hflip"),),
    "vflip": (Op("vflip"),),
    "bright": (BRIGHT,),
    "dark": (DARK,),
    "vivid": (VIVID,),
    "chain": (Op("hflip"), BRIGHT),
    "noise": (NOISE,),
}


def frames_of(path):
    import decord

    return decord.VideoReader(str(path), num_threads=1).get_batch(range(0, 12, 4)).asnumpy()


FILMS = []


@pytest.fixture(scope="module")
def source_videos(tmp_path_factory):
    """The frames of a clip, and of the copy of each case."""
    folder = tmp_path_factory.mktemp("copies")
    clip = folder / "clip.mp4"
    # Soft colors: where a picture saturates, its copies depend on where they are rounded.
    picture = (
        "gradients=size=192x144:rate=12:duration=1:seed=3:c0=0x305080:c1=0xa07040:c2=0x50a060:nb_colors=3"
    )
    coding = ["-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"]
    run_ffmpeg(["-f", "lavfi", "-i", picture, "-frames:v", "12", *coding, str(clip)])
    wanted = [(ops, folder / f"{i}.mp4") for i, ops in enumerate(CASES.values())]
    run_ffmpeg(augment_args(clip, wanted))
    files = {name: frames_of(path) for name, (_, path) in zip(CASES, wanted, strict=True)}
    FILMS.append(clip)
    return frames_of(clip), files


@pytest.mark.parametrize("name", [name for name in CASES if name != "noise"])
def test_a_view_shows_what_the_file_would(source_videos, name):
    clip, files = source_videos
    made = np.stack(augmented(clip, CASES[name]))
    assert made.dtype == np.uint8
    codec = abs(files["as it is"].astype(float) - clip).mean()
    apart = abs(made.astype(float) - files[name]).mean()
    moved = abs(made.astype(float) - clip).mean()
    # ffmpeg computes brightness in steps of 2.5, rounded down, and chroma is off by one.
    assert apart < codec + (0.3 if all(op.name != "jitter" for op in CASES[name]) else 4.5)
    assert not CASES[name] or moved > 2 * apart


def test_noise_is_one_pattern_of_the_same_strength_on_all_colors(source_videos):
    clip, files = source_videos
    made = np.stack(augmented(clip, (NOISE,))).astype(float) - clip
    assert (made[0] == made[-1]).all()
    assert (made[..., 0] == made[..., 2]).all()
    # Luma in steps of 255, of which 219 are shown.
    assert made.std() == pytest.approx(10 * 255 / 219, rel=0.03)
    # The encoder takes a part of it away.
    assert made.std() * 0.7 < (files["noise"].astype(float) - clip).std() < made.std() * 1.1
    again = np.stack(augmented(clip, (NOISE,))).astype(float) - clip
    other = np.stack(augmented(clip, (Op("noise", (("sigma", 10.0), ("seed", 8.0))),))).astype(float) - clip
    assert (made == again).all()
    assert (made != other).any()


def test_a_clip_stays_as_it_is_as_often_as_it_undergoes_each_chain():
    frames = [np.arange(24, dtype=np.uint8).reshape(2, 4, 3)]
    transform = AugmentedView("hflip,vflip,hflip+vflip")
    seen = Counter()
    for view in range(800):
        made = transform({"imgs": frames, "view_key": view_key(0, "clip", view)})["imgs"][0]
        seen[made.tobytes()] += 1
    assert len(seen) == 4
    assert min(seen.values()) > 150
    key = view_key(3, "clip", 1)
    twice = [AugmentedView("jitter,noise")({"imgs": frames, "view_key": key})["imgs"][0] for _ in "ab"]
    assert (twice[0] == twice[1]).all()


def test_what_is_drawn_depends_on_seed_clip_and_view():
    keys = [view_key(0, "a", 0), view_key(1, "a", 0), view_key(0, "b", 0), view_key(0, "a", 1)]
    drawn = {view_chance(key, what) for key in keys for what in ("x", "y")}
    assert len(drawn) == 8
    assert all(0 <= value < 1 for value in drawn)


def test_a_rotated_view_shows_what_the_file_would(source_videos, tmp_path):
    clip, _ = source_videos
    for degrees in (-10.0, 6.5):
        ops = (Op("rotate", (("degrees", degrees),)),)
        run_ffmpeg(augment_args(FILMS[-1], [(ops, tmp_path / "r.mp4")]))
        made = np.stack(augmented(clip, ops)).astype(float)
        apart = abs(made - frames_of(tmp_path / "r.mp4")).mean()
        turned_back = np.stack(augmented(clip, (Op("rotate", (("degrees", -degrees),)),))).astype(float)
        assert apart < 4
        assert abs(turned_back - frames_of(tmp_path / "r.mp4")).mean() > 2 * apart


def test_every_operation_works_in_a_file_and_on_the_fly(source_videos, tmp_path):
    clip, _ = source_videos
    for name, known in OPERATIONS.items():
        for at in (0.0, 0.999):
            (op,) = ops = draw((name,), lambda _, at=at: at)
            assert known.filters(op)
            run_ffmpeg(augment_args(FILMS[-1], [(ops, tmp_path / "o.mp4")]))
            made = augmented(clip, ops)
            assert [frame.shape for frame in made] == [frame.shape for frame in clip]
            assert abs(decode(tmp_path / "o.mp4").num_frames - num_frames_after(12, ops)) <= 1


def test_speed_shows_the_frames_that_the_file_would():
    frames = [np.full((2, 2, 3), i, np.uint8) for i in range(20)]
    fast = augmented(frames, (Op("speed", (("factor", 1.25),)),))
    assert [int(frame[0, 0, 0]) for frame in fast[:9]] == [0, 1, 3, 4, 5, 6, 8, 9, 10]
    slow = augmented(frames, (Op("speed", (("factor", 0.8),)),))
    assert [int(frame[0, 0, 0]) for frame in slow[:6]] == [0, 1, 2, 2, 3, 4]


def test_an_unknown_operation_is_a_usage_error_everywhere(tmp_path):
    for use in (lambda ops: augmented([], ops), filters_of, lambda ops: num_frames_after(1, ops)):
        with pytest.raises(UsageError, match="no operation 'blur'"):
            use((Op("blur"),))
