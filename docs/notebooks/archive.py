# %% [markdown]
# # An archive: label the tapes
#
# An archive has a few recordings that somebody has labeled, long ones that nobody has, and people who know
# the dances. A minute on two cores, with drawn videos: eighteen labeled ones by six dancers, one of them
# labeled wrong, and a long recording in which the dance changes.

# %%
import csv
from pathlib import Path

from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec
from dancecli.video.ffmpeg import run_ffmpeg

DANCES = ("jumpstyle dancing", "moon walking", "robot dancing")
Path("labels.txt").write_text("\n".join(DANCES))
DANCERS = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn")
groups = [("file", "dancer")]
for dance in DANCES:
    for number, dancer in enumerate(DANCERS):
        # A tape on the wrong shelf.
        shelf = "robot dancing" if (dance, number) == ("moon walking", 1) else dance
        path = Path("labeled", shelf, f"{dancer} {dance.split()[0]} {number}.mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(VideoSpec(f"{dance} {number}", dance, 2.0, width=160, height=120), path)
        groups.append((str(path.relative_to("labeled")), dancer))
with Path("dancers.csv").open("w", newline="") as file:
    csv.writer(file).writerows(groups)

Path("recordings").mkdir()
parts = []
for number, dance in enumerate(DANCES):
    write_video(VideoSpec(f"evening {number}", dance, 5.0, width=160, height=120), Path(f"part{number}.mp4"))
    parts.append(f"file 'part{number}.mp4'\n")
Path("parts.txt").write_text("".join(parts))
run_ffmpeg(["-f", "concat", "-i", "parts.txt", "-an", "recordings/gala 1994.mp4"])

# %% [markdown]
# ## Import, with who dances
#
# The folders are the labels; a list says who dances in each file, and no dancer will be in two folds.

# %%
import dancecli

archive = dancecli.create("archive")
archive.import_("labeled", labels="labels.txt", groups="dancers.csv")
archive.clips().groupby("label").size().rename("clips").to_frame()

# %% [markdown]
# In a cross-validation every clip is tested once, by a model that has seen neither it nor its dancer.

# %%
folds = archive.split(folds=4, name="folds")
small = ["clip_len=16", "frame_interval=2", "short_side=128", "crop=112"]
run = archive.finetune(folds, folds=True, name="folds", changes=small)
run

# %% [markdown]
# ## Look at what the model doubts
#
# Labels are rarely all right. Where label and model differ, somebody looks: in `dance app`, or at the files
# themselves. From thirty clips on, `dance suspects` lists the probably wrong ones at a stated rate.

# %%
doubted = run.predictions().query("label != predicted")[["label", "predicted"]]
doubted

# %%
import subprocess
from urllib.request import HTTPCookieProcessor, build_opener

command = ["dance", "app", "--no-browser", "--workspace", "archive"]
app = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
address = app.stderr.readline().split(": ")[-1].strip()
with build_opener(HTTPCookieProcessor()).open(address) as page:
    print(page.status, page.headers["Content-Type"])
app.terminate()

# %% [markdown]
# What is decided is a table of corrections. Clips are never changed, and each correction can be taken back.

# %%
clip = next(name for name in archive.clips().index if name.startswith("Ben-moon"))
Path("decided.csv").write_text(f"clip_id,label\n{clip},moon walking\n")
archive.corrections(files=["decided.csv"])
archive.corrections()[["field", "old", "new"]]

# %% [markdown]
# ## Label the long recording
#
# One model is trained on all clips, with the corrections, and says what is danced when.

# %%
import pandas as pd

everything = archive.split(ratios="75/25", name="all")
model = archive.finetune(everything, name="archive", changes=small)
archive.predict(["recordings/gala 1994.mp4"], run=model)
pd.read_csv(next(archive.root.rglob("gala-1994.mp4.csv"))).round(1)

# %% [markdown]
# The same timeline is there for ELAN, beside the video: a tier `dance` to correct by hand.

# %%
eaf = next(archive.root.rglob("gala-1994.mp4.eaf"))
lines = [line.strip() for line in eaf.read_text().splitlines()]
print("\n".join(line for line in lines if "ANNOTATION_VALUE" in line or "TIER_ID" in line))

# %% [markdown]
# A corrected timeline is a list: its stretches become clips of the dataset, cut from the recording.

# %%
archive.fetch(annotations=[eaf], source="local", folder="recordings")
archive.clips().groupby("label").size().rename("clips").to_frame()

# %% [markdown]
# [An archive](../howto/archives.md) has the same as commands, [Look at clips and correct
# labels](../howto/app.md) the app.
