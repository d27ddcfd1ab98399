"""The command line: the one floor that knows typer, rich and exit codes."""
