# %% [markdown]
# # A student: does a video network need more than one frame?
#
# The homework: train a classifier of four dances, say how good it is, and find out how much of that it can
# tell from a single frame. It takes a minute or two on two cores.
#
# Your videos would be in one folder per dance. Here they are drawn: twenty-four dancers of two seconds,
# whose clothes, stage and camera say nothing about the dance.

# %%
from pathlib import Path

from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec

DANCES = ("jumpstyle dancing", "moon walking", "robot dancing", "swing dancing")
Path("labels.txt").write_text("\n".join(DANCES))
for dance in DANCES:
    folder = Path("videos", dance)
    folder.mkdir(parents=True)
    for number in range(6):
        write_video(
            VideoSpec(f"{dance} {number}", dance, 2.0, width=160, height=120), folder / f"{number}.mp4"
        )

# %% [markdown]
# ## From videos to numbers
#
# A workspace holds everything. `import_` decodes each video whole before it becomes a clip; what is
# unreadable would be listed with its reason. The label file says which classes there are, and so what chance
# is.

# %%
import dancecli

homework = dancecli.create("homework")
homework.import_("videos", labels="labels.txt")
homework.clips().groupby("label").agg(clips=("num_frames", "size"), frames=("num_frames", "sum"))

# %% [markdown]
# Half of the videos are for testing, and the network never sees those while it is trained. Clips of one
# source video, or of equal bytes, would be kept in one subset.

# %%
split = homework.split(ratios="50/50", stratify=True, name="homework")
split

# %% [markdown]
# The network was trained on Kinetics-400 and stays as it is; only its last layer is fitted to the four
# dances. Small frames are enough here.

# %%
run = homework.finetune(
    split, name="video", changes=["clip_len=16", "frame_interval=2", "short_side=128", "crop=112"]
)
run

# %% [markdown]
# A rate without its interval is half a result: with 12 test clips the truth may be far from what was counted.

# %%
run.metrics().round(3)

# %% [markdown]
# ## The same network with less to look at
#
# Each control takes something away from the test clips: all frames but one, or the order of the frames.

# %% tags=["varies"]
import pandas as pd

taken_away = homework.controls(run, ["one-frame", "shuffled"])
table = pd.json_normalize(taken_away["controls"]).set_index("control")
table[["intact.k", "under.k", "under.n", "chance", "survives.share"]].round(2)

# %% [markdown]
# What *survives* is the share of the accuracy above chance (25 %) that is left. What the network still
# knows from one frame, it tells from a pose; the rest needs movement. On another kind of processor a clip or
# two of the 12 may fall the other way, which is less than the interval says. What is lost may also be lost
# because a still is unlike anything that the network was trained on: [What a model looks
# at](../howto/controls.md) says what can be concluded, and how to train a model of single frames
# (`pretrain="frame"`) and compare the two clip by clip (`dance compare --across-views`).
#
# ## The page to hand in
#
# One file with everything: accuracy with its interval, confusion matrix, each mistake as a clip, and the
# controls.

# %%
print(run.report())
