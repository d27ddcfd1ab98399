"""A report with its clips, as one folder or one zip file that opens anywhere without a network."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from dancecli.core.errors import InputError
from dancecli.core.progress import Reporter
from dancecli.core.text import pluralize
from dancecli.report.results.run_results import RunResults
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

CLIPS = "clips/"
_UP = "../../"
_MB = 1_000_000


def write_bundle(
    workspace: Workspace,
    out: Path,
    results: RunResults,
    report: Path,
    draw: Callable[..., str],
    reporter: Reporter,
    *,
    dry_run: bool = False,
) -> None:
    """Write the page, what is beside it, and the clips of every evaluated subset whose files are here.

    Reports how many clips are in it and how large they are; clips without a file are counted, and have
    their still at least.

    Args:
        workspace: where the clips are.
        out: a zip file if the name ends with `.zip`, else a folder.
        results: the run.
        report: the report's folder, already written.
        draw: draws the page of such results, given `workspace` and `clips`.
        reporter: of each clip.
        dry_run: report only.

    Raises:
        InputError: the folder exists and holds something else.
    """
    files = _files(workspace, results)
    clips = {clip for of in results.subsets.values() for clip in of.clips}
    size = sum(path.stat().st_size for path in files.values())
    missing = len(clips) - len(files)
    lost = f"; {pluralize(missing, 'clip')} without a file here" if missing else ""
    verb = "would hold" if dry_run else "holds"
    if not dry_run:
        page = draw(results=results, workspace=workspace, bundled={c: _link(c, p) for c, p in files.items()})
        write = _write_zip if out.suffix.lower() == ".zip" else _write_folder
        write(out, page, [p for p in sorted(report.iterdir()) if p.is_file()], files, reporter)
    reporter.message(f"{out} {verb} {pluralize(len(files), 'clip')}, {size / _MB:.1f} MB{lost}")


def _link(clip: str, path: Path) -> str:
    # What is in the usual place is written shortest; the page knows that this is `clips/`.
    return f"{_UP}{CLIPS}{clip}.mp4" if path.suffix == ".mp4" else f"{CLIPS}{clip}{path.suffix}"


def _files(workspace: Workspace, results: RunResults) -> dict[str, Path]:
    found = {}
    for of in results.subsets.values():
        for clip in of.clips:
            link = results.links.get(clip, "")
            path = workspace.root / unquote(link.removeprefix(_UP))
            if link.startswith(_UP) and path.is_file():
                found[clip] = path
    return found


def _write_folder(
    out: Path, page: str, beside: list[Path], files: dict[str, Path], reporter: Reporter
) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "index.html").exists())):
        raise InputError(f"{out}: exists and is no bundle", "name a new folder, or FILE.zip")
    for path in beside:
        if path.name != "index.html":
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / path.name)
    for done, (clip, path) in enumerate(files.items(), start=1):
        target = out / CLIPS / f"{clip}{path.suffix}"
        if not target.exists() or target.stat().st_size != path.stat().st_size:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        reporter.progress(done, len(files), clip)
    # The page comes last: where it is, all that belongs to it is there too.
    with atomic_file(out / "index.html") as file:
        file.write(page)


def _write_zip(out: Path, page: str, beside: list[Path], files: dict[str, Path], reporter: Reporter) -> None:
    stem = out.stem
    with atomic_file(out, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(f"{stem}/index.html"), page.encode())
        for path in beside:
            if path.name != "index.html":
                archive.writestr(_entry(f"{stem}/{path.name}"), path.read_bytes())
        for done, (clip, path) in enumerate(files.items(), start=1):
            entry = _entry(f"{stem}/{CLIPS}{clip}{path.suffix}")
            entry.compress_type = zipfile.ZIP_STORED  # a video does not get smaller
            archive.writestr(entry, path.read_bytes())
            reporter.progress(done, len(files), clip)


def _entry(name: str) -> zipfile.ZipInfo:
    """Name a member without a time, so that the same report gives the same bytes."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
    return entry
