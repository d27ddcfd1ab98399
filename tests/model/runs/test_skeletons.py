"""Skeleton networks read the poses that were stored, and train and evaluate as other models do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dancecli.core.errors import MediaError, ModelError, UsageError, WorkspaceError
from dancecli.core.recipe import read_recipe
from dancecli.core.records import Clip, ClipPose, Prediction, Subset
from dancecli.core.video_files import clip_path
from dancecli.model.dataloading.pipelines import test_pipeline as evaluation_pipeline
from dancecli.model.dataloading.pipelines import train_pipeline
from dancecli.model.dataloading.pose import held
from dancecli.model.dataloading.pose_data import with_poses
from dancecli.model.dataloading.split_data import load_split
from dancecli.model.evaluation.evaluate import EvaluateSettings, evaluate
from dancecli.model.inference.predict import PredictSettings, predict
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.heads.unknown import FARTHEST, fit_detector
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.plan import Execution, make_plan
from dancecli.storage import tables
from dancecli.storage.pose_files import COCO, Pose, pose_of, read_pose, write_pose
from dancecli.storage.workspace import Workspace

pytestmark = pytest.mark.usefixtures("own_cache")

Corpus = Callable[..., Workspace]
RECIPE = replace(read_recipe("skeleton"), clip_len=8)
# Of two validation clips, which would be trained on else.
HELD_OUT = "validation=held-out"


def store(workspace: Workspace, clip: Clip, *, reason: str = "") -> ClipPose:
    """Store a body that moves as the clip's class does, or a reason why there is none."""
    if reason:
        return ClipPose(clip.clip_id, "", "", 0, clip.sha256, "m", "e", 0, 0, 0, 0.0, 0.0, reason)
    rng = np.random.default_rng(sum(clip.clip_id.encode()))
    body = rng.uniform(20, 60, (17, 2))
    phase = np.linspace(0, 4 * np.pi, 24)[:, None]
    way = {"bouncing": (0, 10), "sliding": (10, 0), "turning": (10, 10)}[clip.label]
    points = (body[None] + np.sin(phase)[:, None] * np.array(way))[None].astype(np.float32)
    pose = Pose(COCO, points, np.ones((1, 24, 17), np.float32), np.arange(24, dtype=np.int32), 72, 88, 24)
    path = pose_of(workspace.root / clip.path)
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("wb") as file:
        write_pose(file, pose)
    return ClipPose(
        clip.clip_id, f"pose/{path.name}", "f" * 64, 9, clip.sha256, "m", "e", 1, 24, 24, 1.0, 1.0
    )


@pytest.fixture
def posed(corpus: Corpus) -> Workspace:
    """A workspace of which one training and one test clip has no poses."""
    workspace = corpus()
    data = load_split(workspace, None)
    without = {data.examples[Subset.TRAIN][0].clip_id, data.examples[Subset.TEST][0].clip_id}
    rows = [
        store(workspace, clip, reason="nobody was found in it" if clip.clip_id in without else "")
        for clip in tables.read(workspace.clips, Clip)
    ]
    tables.write(workspace.poses, ClipPose, rows)
    return workspace


def stored_poses(video: Path) -> tuple[Pose, float]:
    """The poses of a clip, as `dance predict` would find them."""
    if not pose_of(video).exists():
        raise MediaError("nobody was found in it")
    return read_pose(pose_of(video)), 12.0


def lost_clip(workspace: Workspace) -> Path:
    """A clip in which nobody was found."""
    rows = tables.read(workspace.poses, ClipPose)
    return workspace.clip(next(row.clip_id for row in rows if row.reason))


def assert_predicted_as_evaluated(workspace: Workspace, run: str) -> None:
    """A clip gets the scores in `predict` that it got in evaluation."""
    rows = tables.read(workspace.run(run) / "predictions.parquet", Prediction)
    seen = [row for row in rows if pose_of(workspace.clip(row.clip_id)).exists()]
    clips = tuple(workspace.clip(row.clip_id) for row in seen)
    videos = predict(workspace, PredictSettings(clips, run, poses_of=stored_poses)).document["videos"]
    assert len(seen) >= 4
    for row, video in zip(seen, videos, strict=True):
        assert video["scores"] == pytest.approx(row.scores, abs=1e-4)
        assert len(video["windows"]) == 1


def run_pipeline(steps: list[dict[str, Any]], clip: Path) -> Any:
    import dancecli.model.dataloading.datasets  # noqa: F401 - registers the steps
    from dancecli.model.networks.mmaction import TRANSFORMS, init_default_scope

    init_default_scope("mmaction")
    results: Any = {"filename": str(clip), "label": 0}
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    return results["inputs"]


def test_skeletons_are_drawn_where_the_body_is(posed: Workspace) -> None:
    import dancecli.model.dataloading.datasets  # noqa: F401 - registers the steps
    from dancecli.model.networks.mmaction import TRANSFORMS, init_default_scope

    init_default_scope("mmaction")
    rows = tables.read(posed.poses, ClipPose)
    draw = TRANSFORMS.build({"type": "DrawPoses"})
    seen, empty = (
        next(row.clip_id for row in rows if bool(row.reason) is reason) for reason in (False, True)
    )

    def drawn(clip: str, *frames: int) -> Any:
        clip_file = str(posed.root / clip_path("clips", f"{clip}.mp4"))
        return draw({"filename": clip_file, "frame_inds": np.array(frames)})["imgs"]

    first, again, later = drawn(seen, 0, 0, 3)
    assert first.shape == (256, round(88 * 256 / 72), 3)
    assert (first == again).all()
    assert (first != later).any()
    stored = read_pose(posed.root / clip_path("pose", f"{seen}.npz"))
    points = stored.keypoints[0, 0] * 256 / 72
    for x, y in points[[5, 11, 15]]:
        assert first[round(float(y)), round(float(x))].any()
    # Outside the body there is nothing.
    assert not first[:, int(points[:, 0].max()) + 8 :].any()
    assert not drawn(empty, 0)[0].any()


def test_only_a_model_of_frames_sees_drawn_skeletons(posed: Workspace) -> None:
    def settings(pretrain: str, shown: str, **more: Any) -> FinetuneSettings:
        return FinetuneSettings(pretrain=pretrain, weights="none", input=shown, changes=(HELD_OUT,), **more)

    plan = make_plan(posed, settings("resnet50", "skeletons"))
    kinds = [step["type"] for step in train_pipeline(plan.base, plan.recipe)]
    assert "DrawPoses" in kinds
    assert "ClipDecode" not in kinds
    assert plan.data.counts["train"] == 6
    with pytest.raises(UsageError, match="this model sees pose, and no drawn skeletons"):
        make_plan(posed, settings("posec3d", "skeletons"))
    with pytest.raises(UsageError, match="input 'bones' is not frames or skeletons"):
        make_plan(posed, settings("resnet50", "bones"))
    with pytest.raises(ModelError, match="drawn skeletons do not support augmentation"):
        augmented = make_plan(posed, settings("resnet50", "skeletons", augment="jitter"))
        train_pipeline(augmented.base, augmented.recipe)


def test_a_network_on_drawn_skeletons_trains_and_is_evaluated_again(
    posed: Workspace, tiny_model: Path
) -> None:
    settings = FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        input="skeletons",
        name="drawn",
        epochs=1,
        batch=3,
        changes=("workers=0", HELD_OUT),
        execution=Execution(preflight=False),
    )
    record = finetune(posed, settings).record
    assert record["model"]["pose"] is True
    assert record["model"]["title"].endswith(", on drawn skeletons")
    again = evaluate(posed, EvaluateSettings("drawn", None, None, None, "again")).record
    assert again["results"] == record["results"]
    assert_predicted_as_evaluated(posed, "drawn")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("posec3d", (1, 17, 8, 56, 56)), ("stgcnpp", (1, 2, 8, 17, 3))],
)
def test_views_are_those_of_the_networks_own_config(posed: Workspace, name: str, shape: Any) -> None:
    base = model_base(find_entry(name))
    rows = tables.read(posed.poses, ClipPose)
    clips = {row.clip_id: posed.clip(row.clip_id) for row in rows}
    seen = next(row for row in rows if not row.reason)
    empty = next(row for row in rows if row.reason)
    view = run_pipeline(train_pipeline(base, RECIPE), clips[seen.clip_id])
    assert tuple(view.shape) == shape
    assert float(view.std()) > 0
    tests = evaluation_pipeline(base, replace(RECIPE, num_clips=2))
    assert run_pipeline(tests, clips[seen.clip_id]).shape[0] == 2
    assert bool(np.isfinite(run_pipeline(tests, clips[empty.clip_id]).numpy()).all())


def test_mirroring_follows_the_recipe() -> None:
    base = model_base(find_entry("posec3d"))
    kinds = [step["type"] for step in train_pipeline(base, RECIPE)]
    assert kinds[:2] == ["PoseInit", "UniformSampleFrames"]
    assert "Flip" in kinds
    still = train_pipeline(base, replace(RECIPE, flip=False))
    assert "Flip" not in [step["type"] for step in still]
    assert {"type": "UniformSampleFrames", "clip_len": 8, "num_clips": 1} in still


def test_what_a_skeleton_does_not_have_is_refused() -> None:
    base = model_base(find_entry("posec3d"))
    with pytest.raises(UsageError, match="a skeleton has no crops"):
        evaluation_pipeline(base, replace(RECIPE, num_crops=3))
    with pytest.raises(ModelError, match="poses do not support augmentation of frames"):
        train_pipeline(base, replace(RECIPE, augment="jitter"))


def test_a_network_of_three_stages_is_frozen_as_a_whole_only() -> None:
    base = model_base(find_entry("posec3d"))
    frozen = build_model_config(base, replace(RECIPE, freeze="4"), 3, None)
    assert "frozen_stages" not in frozen["backbone"]
    assert frozen["cls_head"]["num_classes"] == 3


def test_lost_people_stand_as_in_the_nearest_frame() -> None:
    points = np.arange(5, dtype=np.float32).reshape(1, 5, 1, 1)
    found = np.array([[False, True, False, False, True]])
    assert held(points, found).ravel().tolist() == [1, 1, 1, 4, 4]
    assert held(points, np.zeros((1, 5), bool)).ravel().tolist() == [0, 1, 2, 3, 4]


def test_clips_without_poses_are_left_out_of_train_and_evaluated(posed: Workspace) -> None:
    before = load_split(posed, None)
    data = with_poses(posed, before)
    assert data.counts == {**before.counts, "train": before.counts["train"] - 1}
    assert data.test_hash == before.test_hash
    assert [note for note in data.notes if "no poses" in note] == [
        "1 of 7 training clips have no poses and are left out",
        "1 of 3 test clips have no poses: an empty skeleton is evaluated",
    ]


def test_clips_that_were_not_looked_at_are_an_error(corpus: Corpus) -> None:
    workspace = corpus()
    with pytest.raises(ModelError, match="12 of 12 clips have no poses") as caught:
        finetune(workspace, FinetuneSettings(pretrain="stgcnpp", weights="none"))
    assert caught.value.hint == "run dance pose"


def test_poses_whose_file_is_gone_are_an_error(posed: Workspace) -> None:
    data = load_split(posed, None)
    pose_of(posed.root / data.examples[Subset.VAL][0].path).unlink()
    with pytest.raises(ModelError, match="1 of 12 clips have no poses"):
        with_poses(posed, data)


def test_a_skeleton_network_trains_and_is_evaluated_again(posed: Workspace) -> None:
    settings = FinetuneSettings(
        pretrain="stgcnpp",
        weights="none",
        recipe="skeleton",
        name="graph",
        epochs=1,
        batch=3,
        changes=("clip_len=8", "workers=0", HELD_OUT),
        execution=Execution(preflight=False),
    )
    record = finetune(posed, settings).record
    assert (record["model"]["pose"], record["model"]["backbone"]) == (True, "STGCN")
    assert record["views"]["test"] == "8 poses over the whole clip, 1 clip"
    assert record["results"]["test"]["n"] == 3
    again = evaluate(posed, EvaluateSettings("graph", None, None, None, "again")).record
    assert again["results"] == record["results"]
    with pytest.raises(UsageError, match="--decoder torchcodec reads frames"):
        evaluate(posed, EvaluateSettings("graph", name="frames", num_clips=2, decoder="torchcodec"))
    files = [posed.run(name) / "predictions.parquet" for name in ("graph", "again")]
    one, two = (tables.read(file, Prediction) for file in files)
    assert np.allclose([p.scores for p in one], [p.scores for p in two], atol=1e-5)
    assert_predicted_as_evaluated(posed, "graph")
    clip = next(posed.clip(p.clip_id) for p in one if pose_of(posed.clip(p.clip_id)).exists())
    halves = PredictSettings((clip,), "graph", window_s=1.0, poses_of=stored_poses)
    windows = predict(posed, halves).document["videos"][0]["windows"]
    assert [(w["start_s"], w["end_s"]) for w in windows] == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    assert windows[0]["scores"] != windows[1]["scores"]
    both = predict(posed, replace(halves, videos=(clip, lost_clip(posed)))).document["videos"]
    assert [video["error"] for video in both] == ["", "nobody was found in it"]
    with pytest.raises(UsageError, match="its network reads poses"):
        predict(posed, replace(halves, poses_of=None))


def test_clips_are_called_unknown_by_how_people_move(posed: Workspace) -> None:
    import torch

    settings = FinetuneSettings(
        pretrain="stgcnpp", weights="none", recipe="skeleton", name="graph", epochs=1, batch=3,
        changes=("clip_len=8", "workers=0", HELD_OUT), execution=Execution(preflight=False),
    )  # fmt: skip
    finetune(posed, settings)
    stored = torch.load(posed.run("graph") / "unknown.pth", weights_only=True)
    # A take-down deletes it, and the same command writes it again.
    (posed.run("graph") / "unknown.pth").unlink()
    assert not finetune(posed, settings).fresh
    again = torch.load(posed.run("graph") / "unknown.pth", weights_only=True)
    assert again["distances"].tolist() == stored["distances"].tolist()
    # Of seven training clips one has no poses.
    assert (len(stored["detector"]["known"]), len(stored["distances"])) == (6, 8)
    rows = tables.read(posed.run("graph") / "predictions.parquet", Prediction)
    val = tuple(posed.clip(row.clip_id) for row in rows if row.subset == Subset.VAL)
    asked = PredictSettings(val, "graph", unknown=0.2, poses_of=stored_poses)
    found = predict(posed, asked).document
    distances = [video["distance"] for video in found["videos"]]
    assert distances == pytest.approx(stored["distances"].tolist()[-2:], abs=1e-6)
    limit = found["calibration"]["unknown"]["farthest"]
    assert [video["unknown"] for video in found["videos"]] == [far > limit for far in distances]

    def strange(_: Path) -> tuple[Pose, float]:
        points = np.random.default_rng(1).uniform(0, 70, (1, 48, 17, 2)).astype(np.float32)
        scores, frames = np.ones((1, 48, 17), np.float32), np.arange(48, dtype=np.int32)
        # Nobody is seen in the second half.
        return Pose(COCO, points[:, :24], scores[:, :24], frames[:24], 72, 88, 48), 12.0

    (video,) = predict(posed, replace(asked, videos=val[:1], window_s=2.0, poses_of=strange)).document[
        "videos"
    ]
    # Distances of what a network makes of poses are of another kind.
    fitted = fit_detector(torch.randn(6, 5), torch.arange(6) % 2)
    torch.save(stored | {"detector": fitted.state}, posed.run("graph") / "unknown.pth")
    with pytest.raises(WorkspaceError, match="distances of another version"):
        predict(posed, asked)
    first, _, last = video["windows"]
    assert 0 < first["distance"] < FARTHEST
    assert (last["distance"], last["unknown"]) == (FARTHEST, True)


def test_the_head_of_a_frozen_skeleton_network_is_solved_on_cached_features(
    posed: Workspace, tmp_path: Path
) -> None:
    import torch

    from dancecli.model.networks.build import build_model

    base = model_base(find_entry("posec3d"))
    network = build_model(build_model_config(base, RECIPE, 3, None), seed=0)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pth")
    settings = FinetuneSettings(
        pretrain="posec3d",
        weights=str(tmp_path / "weights.pth"),
        name="frozen",
        freeze="4",
        changes=("clip_len=8", "workers=0", HELD_OUT),
        execution=Execution(preflight=False),
    )
    record = finetune(posed, settings).record
    assert (record["cache"]["used"], record["recipe"]["head"]) == (True, "solved")
    assert record["results"]["test"]["n"] == 3
    again = evaluate(posed, EvaluateSettings("frozen", None, None, None, "again")).record
    assert again["results"] == record["results"]
