"""What poses, flow and pictures are worth on the demo and on its variants, and what the controls find there.

    python -m benchmarks.pose_variants build/poses [--only misleading hidden-limbs demo]

Each corpus is a workspace in the folder, made by the commands that a user would type; what is done is
skipped. Three tables of Markdown come out. `variants`: pictures, which `dance demo` trains on, against
ST-GCN++ on the poses of `dance pose`, by `dance compare`. `controls`: what survives of pictures without the
dancer, without the background and without motion: on the demo, and where a style has its own background in
test as in train, for which a third of the training videos of `misleading` is the test set. `streams`:
pictures, flow and poses on some clips of the demo, for poses take time, and their ensemble, weighed on val.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.records import Control, SplitClip, Subset
from dancecli.demo.corpus import MISLEADING
from dancecli.demo.pipeline import MISSING, SPLIT, VARIANTS, trained_run
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder, read_records
from dancecli.storage.workspace import Workspace

PLAIN, STREAMS = "demo", "streams"
WITH_CONTROLS = (MISLEADING, PLAIN)
# The misleading corpus without its test clips: a third of each style's training videos is the test set.
PLANTED = "planted"
PICTURES, FLOW, POSE, ALL = "pictures", "flow", "pose", "three-streams"
# The whole demo has 410 clips.
CLIPS = 150
# Of the demo; poses of all its test clips are not found.
WITHOUT_POSES = (Control.ONE_FRAME, Control.STILL, Control.SHUFFLED, Control.REVERSED)


@dataclass(frozen=True)
class Corpus:
    """One workspace, and the commands in it.

    Attributes:
        root: its folder.
        name: `demo`, or a variant of it.
        quick: as `dance demo --quick`, and two epochs.
    """

    root: Path
    name: str
    quick: bool = False

    def dance(self, *words: str) -> str:
        """Run a command of ours in the workspace, and give what it printed."""
        words = (*words, "--workspace", str(self.root))
        print(f"$ dance {' '.join(words)}", file=sys.stderr, flush=True)
        ended = subprocess.run(
            [sys.executable, "-m", "dancecli", *words], stdout=subprocess.PIPE, text=True, check=False
        )
        if ended.returncode not in (0, MISSING):
            raise SystemExit(f"dance {words[0]} ended with status {ended.returncode}")
        return ended.stdout

    def asked(self, *words: str) -> dict[str, Any]:
        """Run a command with --json, and read its document."""
        document: dict[str, Any] = json.loads(self.dance(*words, "--json"))
        return document

    def make(self) -> None:
        """Draw the corpus, and train on its pictures."""
        variant = () if self.name == PLAIN else ("--variant", self.name)
        self.dance("demo", *variant, *(("--quick",) if self.quick else ()))
        if self.name == PLAIN:
            size = ("--subset", "40" if self.quick else str(CLIPS), "--ratios", "60/15/25")
            self.dance("split", *size, "--stratify", "--name", STREAMS)

    @property
    def split(self) -> str:
        """The split on which poses are trained."""
        return STREAMS if self.name == PLAIN else SPLIT

    @property
    def trained(self) -> str:
        """The run of `dance demo`."""
        return trained_run(Workspace(self.root))[0]

    @property
    def pictures(self) -> str:
        """The run on pictures that poses are compared with."""
        return PICTURES if self.name == PLAIN else self.trained

    def find_poses(self) -> None:
        """Find the main dancer in the clips; one is enough for ST-GCN++ and half the work."""
        self.dance("pose", "--people", "1", "--split", self.split)

    def train(self, name: str, *words: str) -> None:
        """Train a run, resume it, or leave it as it is."""
        status = read_records(Workspace(self.root))[0].get(name, {}).get("status")
        if status != "done":
            self.dance("finetune", *(("--resume",) if status else words), "--name", name)

    def train_poses(self) -> None:
        """Train ST-GCN++ from scratch on the poses.

        Val is held out, as by the recipe of the demo: pictures do not learn from it, and the streams are
        weighed on it.
        """
        short = ("--epochs", "2") if self.quick else ()
        recipe = ("--recipe", "skeleton", "--set", "validation=held-out", "--split", self.split, *short)
        self.train(POSE, "--pretrain", "stgcnpp", "--weights", "none", *recipe)

    @property
    def controlled(self) -> str:
        """The run that is evaluated under controls."""
        return PLANTED if self.name == MISLEADING else self.trained

    def plant(self) -> None:
        """Train on pictures of which train and test have the same planted backgrounds."""
        listed = self.root / "planted.csv"
        clips = [
            c for c in tables.read(Workspace(self.root).split(SPLIT), SplitClip) if c.subset != Subset.TEST
        ]
        videos = {
            c.label: sorted({o.group for o in clips if (o.label, o.subset) == (c.label, Subset.TRAIN)})
            for c in clips
        }
        with listed.open("w", encoding="utf-8") as file:
            file.write("file,split\n")
            for c in clips:
                held = c.group in videos[c.label][-max(1, len(videos[c.label]) // 3) :]
                file.write(f"{c.clip_id},{Subset.TEST if held else c.subset}\n")
        self.dance("split", "--keep-official", str(listed), "--name", PLANTED)
        self.train(PLANTED, "--recipe", "demo", "--views", "1", "--split", PLANTED)

    def take_away(self) -> None:
        """Evaluate a run on pictures under the controls."""
        controls = WITHOUT_POSES if self.name == PLAIN else tuple(Control)
        self.dance("evaluate", "--run", self.controlled, "--control", ",".join(controls))

    def train_streams(self) -> None:
        """Train on the pictures and the optical flow of the same clips, as `dance demo` does on pictures.

        No package has weights of flow: those of pictures are used, the first layer averaged over the colors.
        """
        self.dance("flow", "--split", STREAMS)
        recipe = ("--recipe", "demo", "--split", STREAMS, "--views", "1")
        weights = RunFolder(Workspace(self.root).run(self.trained)).checkpoints / "best.pth"
        self.train(FLOW, "--pretrain", "inception-flow", "--weights", str(weights), *recipe)
        self.train(PICTURES, *recipe)


def percent(of: dict[str, Any]) -> str:
    """Lay out an accuracy with its interval."""
    return f"{of['k']}/{of['n']} ({100 * of['low']:.0f} to {100 * of['high']:.0f} %)"


def points(of: dict[str, Any]) -> str:
    """Lay out a difference with its interval, in points."""
    return f"{100 * of['rate']:+.0f} ({100 * of['low']:+.0f} to {100 * of['high']:+.0f})"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of Markdown."""
    print("| " + " | ".join(head) + " |\n|---" + "|--:" * (len(head) - 1) + "|")
    print("".join(f"| {' | '.join(row)} |\n" for row in rows), flush=True)


def against_poses(corpora: Sequence[Corpus]) -> None:
    """Print pictures beside poses, one line per corpus."""
    rows = []
    for corpus in corpora:
        found = corpus.asked("compare", corpus.pictures, POSE)
        one, other = (percent(found[key]["top1"]) for key in ("first", "second"))
        rows.append([corpus.name, one, other, points(found["difference"]), f"{found['paired']['p']:.2g}"])
    print_table(["corpus", "pictures", "poses", "poses minus pictures, points (95 %)", "p"], rows)


def under_controls(corpora: Sequence[Corpus]) -> None:
    """Print what survives of pictures under each control, and say what chance is."""
    rows = []
    for corpus in corpora:
        found = corpus.asked("report", "--run", corpus.controlled)
        for one in found["controls"]:
            kept = one["survives"]
            share = (
                f"{100 * kept['share']:.0f} % ({100 * kept['low']:.0f} to {100 * kept['high']:.0f})"
                if kept
                else "-"
            )
            chance = f"{100 * one['chance']:.0f} %{', within' if one['chance_in_interval'] else ''}"
            name = PLANTED if corpus.name == MISLEADING else corpus.name
            what = (name, one["control"], percent(one["intact"]), percent(one["under"]))
            rows.append([*what, chance, share, f"{one['p_adjusted']:.2g}"])
    print_table(["corpus", "control", "as they are", "under it", "chance", "survives (95 %)", "p"], rows)


def streams(corpus: Corpus) -> None:
    """Print the ensemble of three streams: what each is alone, and what it adds."""
    corpus.dance("evaluate", "--ensemble", PICTURES, FLOW, POSE, "--weigh", "--name", ALL)
    page = corpus.asked("report", "--run", ALL)
    rows = []
    for one in page["subsets"]["test"]["members"]:
        against = corpus.asked("compare", one["run"], ALL)
        adds = {"rate": one["adds"], "low": one["low"], "high": one["high"]}
        alone = percent(against["first"]["top1"])
        gain, p = points(against["difference"]), f"{against['paired']['p']:.2g}"
        worth = (points(adds), f"{one['p_adjusted']:.2g}")
        rows.append([one["run"], alone, f"{one['weight']:.2f}", *worth, gain, p])
    rows.append([ALL, percent(against["second"]["top1"]), *[""] * 5])
    head = ["stream", "alone", "weight", "adds to the other two (95 %)", "p", "three minus it (95 %)", "p"]
    print_table(head, rows)


def main() -> None:
    """Make the corpora and runs where they are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*VARIANTS, PLAIN], default=[*VARIANTS, PLAIN])
    parser.add_argument("--quick", action="store_true", help="show that the script works, on few small clips")
    asked = parser.parse_args()
    corpora = [Corpus(asked.folder / name, name, asked.quick) for name in asked.only]
    for corpus in corpora:
        corpus.make()
        corpus.find_poses()
        corpus.train_poses()
        if corpus.name == MISLEADING:
            corpus.plant()
        if corpus.name in WITH_CONTROLS:
            corpus.take_away()
        if corpus.name == PLAIN:
            corpus.train_streams()
    against_poses(corpora)
    under_controls([corpus for corpus in corpora if corpus.name in WITH_CONTROLS])
    for corpus in corpora:
        if corpus.name == PLAIN:
            streams(corpus)


if __name__ == "__main__":
    main()
