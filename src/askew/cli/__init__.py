"""The command line, a file for each command."""

from askew.cli._app import app, make_app

__all__ = ["app", "make_app"]
