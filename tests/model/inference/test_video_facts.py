from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from dancecli.core.progress import SILENT
from dancecli.model.inference import timeline, video_facts
from dancecli.model.inference.calibration import Calibration
from dancecli.model.inference.timeline import Scored


@dataclass(frozen=True)
class Model:
    labels: tuple[str, ...] = ("tango", "waltz")
    reads_poses: bool = False


def test_the_slots_of_a_long_recording_are_not_cut_for_every_stretch(monkeypatch):
    """Dances of a minute, for two hours: each stretch needs its own slots alone."""
    shares = [0.95 if i // 12 % 2 else 0.05 for i in range(1440)]
    windows = [Scored(5.0 * i, 5.0 * i + 10, (p, 1 - p)) for i, p in enumerate(shares)]
    stream = SimpleNamespace(fault="", decoder="ffmpeg", seconds=7205.0, frames=180_125)
    monkeypatch.setattr(video_facts, "predict_windows", lambda *_: (windows, stream))
    cuts, slots = [], timeline.slots

    def counted(found):
        cuts.append(len(found))
        return slots(found)

    for module in (timeline, video_facts):
        monkeypatch.setattr(module, "slots", counted, raising=False)
    reading = SimpleNamespace(poses_of=None, window_s=10.0, decoder=None, calibration=Calibration())
    facts = video_facts.video_facts(Model(), reading, Path("evening.mp4"), SILENT)
    assert len(facts["segments"]) == 120
    assert len(cuts) <= 2
