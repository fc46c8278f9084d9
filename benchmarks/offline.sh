#!/usr/bin/env bash
# Shows that a run needs no network: it passes in a network namespace without interfaces, and an
# strace of it sees no internet socket. Needs unshare (util-linux) and strace.
#
#   benchmarks/offline.sh [PROFILE]
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-profiles/smoke.toml}
python=${PYTHON:-.venv/bin/python}
results=${RESULTS:-benchmarks/results}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in unshare strace; do
  command -v "$tool" >/dev/null || { echo "error: $tool is not installed" >&2; exit 3; }
done

# Exit code of a chain that came to its end: 0 kept its budget, 1 missed it, 5 too noisy to say.
ended() { case $1 in 0 | 1 | 5) echo true ;; *) echo false ;; esac; }

namespace=(unshare --net)
[ "$(id -u)" = 0 ] || namespace=(unshare --map-root-user --net)

interfaces=$("${namespace[@]}" sh -c 'tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " " | paste -sd,')
echo "interfaces inside the namespace: $interfaces (lo alone, and it is down)"
isolated=0
"${namespace[@]}" "$python" -m squeeze run "$profile" --out "$work/isolated" >"$work/isolated.txt" || isolated=$?
echo "exit code inside the namespace: $isolated"

traced=0
strace -f --seccomp-bpf -e trace=socket,connect -o "$work/trace" \
  "$python" -m squeeze run "$profile" --out "$work/traced" >"$work/traced.txt" || traced=$?
echo "exit code under strace: $traced"
internet=$(grep -cE 'socket\((AF_INET6?|PF_INET6?)|sa_family=AF_INET6?' "$work/trace" || true)
families=$(sed -nE 's/.*socket\(([A-Z_0-9]+).*/\1/p' "$work/trace" | sort | uniq -c |
  awk '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $2, $1 }')
echo "sockets by family: ${families:-none}"
echo "internet sockets or connections: $internet"

verdict=fail
if [ "$(ended "$isolated")" = true ] && [ "$(ended "$traced")" = true ] && [ "$internet" = 0 ]; then
  verdict=pass
fi
"$python" -m benchmarks.record offline --results "$results" \
  command="benchmarks/offline.sh $(basename "$profile")" profile="$(basename "$profile")" \
  interfaces="$interfaces" isolated_exit="$isolated" traced_exit="$traced" \
  internet_sockets="$internet" sockets="${families:-none}" verdict="$verdict"
echo "verdict: $verdict"
[ "$verdict" = pass ]
