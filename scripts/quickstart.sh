#!/usr/bin/env bash
# From a fresh clone to a table and a figure: environment, 240 training runs on embedded data, analysis.
# Run again, it trains nothing that is already in runs/quickstart.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh ""

dreg-sweep -m experiment=quickstart results_dir=runs/quickstart "$@"
dreg-analyze runs/quickstart
echo
echo "Open runs/quickstart/analysis/report.html; the published run is in results/quickstart."
