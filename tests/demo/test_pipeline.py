from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dancecli.core.errors import DanceError, InputError, MissingDependencyError, WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.demo import corpus, pipeline
from dancecli.demo.corpus import plan
from dancecli.demo.pipeline import DemoSettings, planned, refuse_other_dataset, refuse_other_demo
from dancecli.storage.workspace import Workspace


def dance(*args: str, timeout_s: float = 500) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dancecli", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo") / "here"
    return folder, dance("demo", "--quick", "--json", "--workspace", str(folder))


def test_demo_runs_the_users_commands_from_nothing_to_a_report(
    quick: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = quick
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [command[0] for command in document["commands"]] == [
        "fetch",
        "split",
        "augment",
        "finetune",
        "report",
    ]
    assert [line for line in done.stderr.splitlines() if line.startswith("$ dance ")] != []
    page = Path(document["page"])
    assert page.is_file()
    assert page.is_relative_to(folder)
    assert document["headline"].startswith("top-1 ")

    # Only the rows of the faulty videos are missing.
    settings = DemoSettings(quick=True).corpus
    drawn = pipeline.make_corpus(folder / pipeline.SITE_FOLDER, settings)
    assert drawn.rendered == 0
    assert len(list((folder / "clips").rglob("*.mp4"))) == drawn.rows - drawn.missing


def test_a_second_demo_fetches_and_trains_nothing(
    quick: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, first = quick
    before = {path: path.stat().st_mtime_ns for path in (folder / "clips").rglob("*.mp4")}
    again = dance("demo", "--quick", "--json", "--workspace", str(folder))
    assert again.returncode == 0, again.stderr
    document = json.loads(again.stdout)
    assert [command[0] for command in document["commands"]] == ["fetch", "split", "augment", "report"]
    assert document["headline"] == json.loads(first.stdout)["headline"]
    assert {path: path.stat().st_mtime_ns for path in (folder / "clips").rglob("*.mp4")} == before
    assert len(list((folder / "runs").iterdir())) == 1


def test_dry_run_shows_the_commands_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = dance("demo", "--dry-run", "--workspace", str(folder))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["fetch", "split", "augment", "finetune", "report"]
    assert not folder.exists()


def test_variants_are_of_six_styles_and_a_list_that_misleads_keeps_its_subsets(tmp_path: Path) -> None:
    drawn = {name: DemoSettings(variant=name) for name in pipeline.VARIANTS}
    assert [(s.corpus.backgrounds, s.corpus.boards) for s in drawn.values()] == [
        ("misleading", False),
        ("independent", True),
    ]
    for name, settings in drawn.items():
        commands = planned(Workspace(tmp_path), settings)
        assert [command[0] for command in commands] == ["fetch", "split", "finetune", "report"]
        assert ("--keep-official" in commands[1]) == (name == "misleading")
        assert any(word.endswith("separable.txt") for word in commands[0])
        assert len(settings.corpus.styles) == 6
        small = DemoSettings(quick=True, variant=name).corpus
        assert {video.subset for video in plan(small)} == {video.subset for video in plan(settings.corpus)}
    with pytest.raises(InputError, match="unknown variant 'rain'"):
        DemoSettings(variant="rain")


def test_a_folder_holds_one_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, settings = Workspace(tmp_path), DemoSettings(quick=True, variant="hidden-limbs")
    monkeypatch.setattr(corpus, "_render", lambda *_: None)
    refuse_other_demo(workspace, settings)
    corpus.make_corpus(tmp_path / pipeline.SITE_FOLDER, settings.corpus)
    refuse_other_demo(workspace, settings)
    for other in (DemoSettings(variant="hidden-limbs"), DemoSettings(quick=True), replace(settings, seed=1)):
        with pytest.raises(WorkspaceError, match="holds a demo of other videos"):
            refuse_other_demo(workspace, other)


def test_a_stopped_run_is_resumed_and_a_run_on_another_split_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    monkeypatch.setattr(pipeline, "trained_run", lambda _: ("run-1", "interrupted"))
    assert planned(workspace, DemoSettings())[3][-3:] == ("--resume", "--name", "run-1")
    monkeypatch.setattr(pipeline, "trained_run", lambda _: ("", ""))
    assert "--resume" not in planned(workspace, DemoSettings())[3]


def test_another_dataset_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    refuse_other_dataset(workspace)
    workspace.segments.parent.mkdir()
    workspace.segments.touch()
    with pytest.raises(WorkspaceError, match="holds another dataset"):
        refuse_other_dataset(workspace)
    (tmp_path / pipeline.SITE_FOLDER).mkdir()
    refuse_other_dataset(workspace)


def test_a_missing_package_is_reported_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = pipeline.importlib.util.find_spec
    monkeypatch.setattr(
        pipeline.importlib.util, "find_spec", lambda name: None if name == "mmaction" else find(name)
    )
    with pytest.raises(MissingDependencyError, match="'mmaction' is not installed") as caught:
        pipeline.demo(Workspace(tmp_path / "demo"), DemoSettings())
    assert "pip install" in caught.value.hint
    assert not (tmp_path / "demo").exists()


def exits_with(code: int, command: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    class Ended:
        def __init__(self, *_: object, **__: object) -> None: ...

        def wait(self) -> int:
            return code

    monkeypatch.setattr(pipeline.subprocess, "Popen", Ended)
    printed: list[str] = []
    pipeline.run((command, "--flag", "two words"), Reporter(on_message=printed.append))
    return printed


def test_each_command_is_printed_and_only_fetch_may_exit_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exits_with(3, "fetch", monkeypatch) == ["$ dance fetch --flag 'two words'"]
    for code, command in ((3, "split"), (1, "fetch"), (2, "report")):
        with pytest.raises(DanceError, match=f"`dance {command}` failed with exit code {code}"):
            exits_with(code, command, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        exits_with(130, "fetch", monkeypatch)
