"""`python -m dancecli` is `dance`."""

from dancecli.cli.app import main

main()
