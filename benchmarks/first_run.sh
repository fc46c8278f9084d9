#!/usr/bin/env bash
# A user's first minutes: a fresh clone of the committed source, `make install`, then `make run`,
# with wall time and peak memory of the run. Installing needs a network or a package cache.
#
#   benchmarks/first_run.sh [PROFILE]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

profile=${1:-profiles/bert_crisis_tiny.toml}
python=${PYTHON:-$root/.venv/bin/python}
results=${RESULTS:-benchmarks/results}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git clone --quiet --no-hardlinks "$root" "$work/clone"
cd "$work/clone"
start=$(date +%s)
make install >"$work/install.txt" 2>&1 || { tail -n 20 "$work/install.txt" >&2; exit 3; }
installed=$(($(date +%s) - start))
echo "installed in $installed s"

code=0
"$python" "$root/benchmarks/peak.py" "$work/peak.json" make run PROFILE="$profile" || code=$?
read -r seconds peak largest < <("$python" -c '
import json, sys
found = json.load(open(sys.argv[1]))
print(found["seconds"], found["peak_bytes"], found["largest_process_bytes"])' "$work/peak.json")
echo "run: exit code $code, $seconds s, peak of all processes $peak bytes"
(cd "$root" && "$python" -m benchmarks.record first-run --results "$results" \
  command="benchmarks/first_run.sh $profile" profile="$(basename "$profile")" \
  exit="$code" install_s="$installed" seconds="$seconds" peak_bytes="$peak" largest_process_bytes="$largest")
