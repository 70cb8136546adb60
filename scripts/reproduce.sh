#!/usr/bin/env bash
# Runs a published sweep again, into runs/NAME, and says what differs from results/NAME.
# Interrupted or run again, it goes on with what is missing. Overrides go to dreg-sweep: data_dir=…, slots=…, or a
# slice such as dataset=mnist seed=0, of which the cells are compared and the tables are not.
# usage: scripts/reproduce.sh NAME [overrides…]
# exit codes: 0 no difference beyond tolerance, 1 differences or failed cells, 2 bad input
set -euo pipefail
cd "$(dirname "$0")/.."

name="${1:-}"
names=()
published=""
for folder in results/*/cells; do
    [ -d "$folder" ] || continue
    sweep="$(basename "$(dirname "$folder")")"
    names+=("$sweep")
    [ "$sweep" != "$name" ] || published=yes
done
if [ -z "$published" ]; then
    echo "reproduce.sh: ${name:-no name} is no published sweep; choose one of: $(IFS=,; echo "${names[*]}" | sed 's/,/, /g')" >&2
    exit 2
fi
shift
source scripts/environment.sh ""  # not our own arguments

# Cells that failed are rows too: the comparison names them.
swept=0
dreg-sweep -m "experiment=$name" "$@" "results_dir=runs/$name" || swept=$?
[ "$swept" -le 1 ] || exit "$swept"
compared=0
python scripts/compare_results.py "runs/$name" "results/$name" || compared=$?
[ "$compared" -eq 0 ] || exit "$compared"
exit "$swept"
