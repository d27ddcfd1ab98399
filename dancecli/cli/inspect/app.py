"""`dance app`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dancecli.cli.console import info, open_workspace
from dancecli.cli.options import SplitOption, WorkspaceOption
from dancecli.core.text import pluralize


def command(
    workspace_dir: WorkspaceOption = None,
    split: SplitOption = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="NAME", help="Run whose predictions are shown. [default: none]"),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 uses any free one.")
    ] = 0,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on. Any address other than this machine's own requires a password "
            "($DANCE_APP_PASSWORD, else it is prompted for).",
        ),
    ] = "127.0.0.1",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the app in the browser.")
    ] = True,
) -> None:
    """Browse the clips in a local web app, and correct labels.

    Corrections are rows of labels.csv in the workspace: who changed what, when and why. Clips and
    tables stay as they are; dance split applies the corrections. Nothing leaves this machine.

    Example: `dance app --run nonlocal-subset525-1`
    """
    import secrets
    import webbrowser

    from dancecli.app.catalog import Catalog
    from dancecli.app.server import listen, make_app, serve

    workspace = open_workspace(workspace_dir, create=False)
    catalog = Catalog(workspace, split, run)
    password = ""
    if host not in ("127.0.0.1", "::1", "localhost"):
        password = os.environ.get("DANCE_APP_PASSWORD", "") or typer.prompt(
            "Password", hide_input=True, confirmation_prompt=True, err=True
        )
    token = secrets.token_urlsafe(24)
    with listen(host, port) as sock:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{sock.getsockname()[1]}/" + ("" if password else f"?token={token}")
        info(f"{pluralize(len(catalog.frame), 'clip')}: {address}\nCtrl-C ends it")
        if browser and not password:
            webbrowser.open(address)
        serve(make_app(workspace, catalog, token, password), sock)
