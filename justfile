# The usual commands; `just` lists them.

_list:
    @just --list

# Install what the tests need, in the tested versions
setup:
    pip install -c constraints.txt -e '.[dev]'

# Run the tests, or some: just test tests/losses
test *ARGS:
    pytest {{ ARGS }}

# Mend what can be mended, and format
lint:
    ruff check --fix .
    ruff format .

# Check types
types:
    .ci/types

# Build the documentation in site/
site:
    .ci/site

# All that must hold before a change goes in, from scratch
all:
    .ci/run
