"""The local web app: look at the clips of a workspace, and correct what is wrong: `dance app`."""
