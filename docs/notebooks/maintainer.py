# %% [markdown]
# # A benchmark's maintainer: freeze it, score others, honor a take-down
#
# A benchmark is a list of clips that stays the same for everybody. This is the whole life of one: two minutes
# on two cores. The videos are drawn here; yours would be in a folder per class.

# %%
from pathlib import Path

from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec

DANCES = ("jumpstyle dancing", "robot dancing", "swing dancing")
Path("labels.txt").write_text("\n".join(DANCES))
for dance in DANCES:
    folder = Path("videos", dance)
    folder.mkdir(parents=True)
    for number in range(6):
        write_video(
            VideoSpec(f"{dance} {number}", dance, 2.0, width=160, height=120), folder / f"{number}.mp4"
        )

# %% [markdown]
# ## Freeze
#
# Near-duplicates are grouped first, so that no test clip has a twin in training. Then the split is made once;
# its lock file names every clip with its subset and the checksum of its file.

# %%
import dancecli

ours = dancecli.create("benchmark")
ours.import_("videos", labels="labels.txt")
ours.dedup()
split = ours.split(ratios="50/50", stratify=True, name="dances-v1")
split.proof

# %%
print("\n".join(split.lock.read_text().splitlines()[:4]))

# %% [markdown]
# What may be published: the lock, lists without videos, and hashes by which others find our test clips among
# theirs. Every fact of the card can be derived again.

# %%
lists = ours.export(form="lists")
ours.export(form="fingerprint")
card = Path(lists["folder"]) / "README.md"
ours.verify(card=card).complete, sorted(path.name for path in card.parent.iterdir())

# %% [markdown]
# ## Others take part
#
# Another lab has the same videos. It rebuilds the split from the lock, trains two models, and writes each
# result as one file.

# %%
lab = dancecli.create("lab")
lab.import_("videos", labels="labels.txt")
theirs = lab.split(lock=split.lock, name="dances-v1")
small = ["clip_len=16", "frame_interval=2", "short_side=128", "crop=112"]
for head in ("solved", "knn"):
    run = lab.finetune(theirs, name=f"inception-{head}", changes=[*small, f"head={head}"])
    lab.submit(run.name, out=f"received/{run.name}.zip")
theirs.proof["hash"] == split.proof["hash"], sorted(path.name for path in Path("received").iterdir())

# %% [markdown]
# ## The leaderboard
#
# Its host needs the lock and no videos. Every figure of a submission is computed again from its predictions.

# %%
import shutil

import pandas as pd

host = dancecli.create("board")
locks = host.root / "manifests" / "splits"
locks.mkdir(parents=True)
shutil.copy(split.lock, locks)
host.board(add=["received"], site="public")
pd.read_csv("public/board.csv")[["run", "rank", "right", "n"]]

# %% [markdown]
# Somebody corrects their result by hand: it is refused, with the reason.

# %%
import zipfile

with zipfile.ZipFile("received/inception-knn.zip") as true, zipfile.ZipFile("better.zip", "w") as better:
    for name in true.namelist():
        text = true.read(name)
        better.writestr(name, text.replace(b'"k": ', b'"k": 1') if name == "submission.json" else text)
host.board(add=["better.zip"])["refused"]

# %% [markdown]
# ## A take-down
#
# Somebody asks for a test clip to be removed. It goes, with all that was made of it; one line in
# `removed.csv` keeps it out, and the lock counts it without naming it.

# %%
gone = split.frame.query("subset == 'test'").index[0]
ours.remove([gone], reason="request of the dancer")
print((ours.root / "removed.csv").read_text())

# %% [markdown]
# The host and every lab do the same with that file. Results on the old test clips are deleted from the board;
# the lab sends them again, scored on the clips that remain, without training anew.

# %%
for place in (host, lab):
    shutil.copy(ours.root / "removed.csv", place.root)
    place.remove([gone], reason="request of the dancer")
for name in lab.runs():
    lab.submit(name, out=f"received/{name}.zip")
host.board(add=["received"], site="public")
pd.read_csv("public/board.csv")[["run", "rank", "right", "n"]]

# %% [markdown]
# [Run a leaderboard](../howto/leaderboard.md), [publish a dataset](../howto/publish.md) and [remove
# clips](../howto/remove.md) have the same as commands.
