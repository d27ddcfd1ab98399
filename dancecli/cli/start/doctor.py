"""`dance doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dancecli.cli.console import open_workspace, print_json, print_result, reporting, table
from dancecli.cli.dataset.fetch_options import (
    CookiesFromBrowserOption,
    CookiesOption,
    ExtractorArgsOption,
    ImpersonateOption,
    MirrorTemplateOption,
    ProxyOption,
    SourceAddressOption,
    UrlTemplateOption,
    YtdlpOption,
    ytdlp_options,
)
from dancecli.cli.options import JsonOption, WorkspaceOption

# The first video of YouTube: 19 seconds, and there since 2005.
OPTIONAL_VALUES = {"--site": "jNQXAC9IVRw"}


def command(
    workspace_dir: WorkspaceOption = None,
    site: Annotated[
        str,
        typer.Option(
            metavar="[VIDEO]",
            help="Download one video from YouTube (or --url-template) as dance fetch does, and show what the "
            "site requires. [default video: the first one of YouTube]",
            show_default=False,
        ),
    ] = "",
    url_template: UrlTemplateOption = "",
    mirror_template: MirrorTemplateOption = "",
    cookies: CookiesOption = None,
    cookies_from_browser: CookiesFromBrowserOption = "",
    proxy: ProxyOption = "",
    source_address: SourceAddressOption = "",
    impersonate: ImpersonateOption = "",
    extractor_args: ExtractorArgsOption = None,
    ytdlp: YtdlpOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check the environment and show how to fix problems.

    With --site, one known video is downloaded and deleted again. If that fails, a few other
    attempts find out what helps: newer software, a PO token, cookies, another address, waiting, or
    the mirror. Options for the site that are not given are those of [fetch] in dance.toml.

    Exits with code 3 if a check fails.

    Example: `dance doctor --site`
    """
    from dancecli.doctor import run_checks, run_site_checks

    workspace = open_workspace(workspace_dir, create=False)
    if site:
        from dancecli.dataset.fetch.settings import FetchSettings

        settings = FetchSettings(
            url_template=url_template,
            mirror_template=mirror_template,
            cookies=cookies,
            ytdlp=ytdlp_options(
                ytdlp, extractor_args, cookies_from_browser, proxy, source_address, impersonate
            ),
        )
        with reporting("doctor") as reporter:
            findings = run_site_checks(workspace, settings, site, reporter)
    else:
        findings = run_checks(workspace)
    if json_output:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [
            (("ok  " if f.ok else "FAIL") + f"  {f.what}", f.found + (f"\n-> {f.fix}" if f.fix else ""))
            for f in findings
        ]
        print_result(table(("check", "result"), rows, align="left"))
        for finding in findings:
            if finding.fix:
                print_result(f"{finding.what} is required by {finding.needed_for}; to fix it: {finding.fix}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)
