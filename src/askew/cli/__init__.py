"""The command line, one file per command."""

from askew.cli._app import app, make_app

__all__ = ["app", "make_app"]
