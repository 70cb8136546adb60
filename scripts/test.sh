#!/usr/bin/env bash
# Everything that must hold before a change lands: lint, format, types, tests. Needs no network once installed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh test

ruff check .
ruff format --check .
mypy
pytest -n 2 "$@"
