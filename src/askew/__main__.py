"""The command line as `python -m askew`, and what the command `askew` runs."""

import sys


def main() -> None:
    """Run the command line, or say what to install for it."""
    try:
        from askew.cli import app
    except ModuleNotFoundError as error:
        print(f"askew: {error}; the command line needs: pip install 'askew[all]'", file=sys.stderr)
        raise SystemExit(2) from None
    app()


if __name__ == "__main__":
    main()
