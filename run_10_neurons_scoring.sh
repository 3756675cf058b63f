#!/usr/bin/env bash
# Score every table with every neuron map, and sum up.
set -u
here=$(cd "$(dirname "$0")" && pwd)

usage() {
    cat <<EOF
Usage: ./run_10_neurons_scoring.sh [-o FOLDER] [TABLE.csv ...] [MAP.json ...] [-- OPTIONS]

Scores every table (.csv, .parquet) with every neuron map (.json) and prints a summary.
Without tables or maps those of the simulated demo are used.

  -o FOLDER   where results go (default: batch_results), one <table>__<map>.csv and .json each
  -- OPTIONS  passed on to interpretability_score.py, for example: -- --preset published

Exit code: 0 when every run succeeded, 1 when one failed, 2 for wrong arguments.
EOF
}

out=batch_results
tables=() maps=() options=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage; exit 0 ;;
        -o) [ $# -ge 2 ] || { echo "error: -o needs a folder" >&2; exit 2; }; out=$2; shift ;;
        --) shift; options=("$@"); break ;;
        -*) echo "error: unknown option $1; options for scoring go behind --" >&2; exit 2 ;;
        *.json) maps+=("$1") ;;
        *.csv | *.parquet | *.pq) tables+=("$1") ;;
        *) echo "error: $1 is neither a table (.csv, .parquet) nor a neuron map (.json)" >&2; exit 2 ;;
    esac
    shift
done
[ ${#tables[@]} -gt 0 ] || tables=("$here/Data/demo/demo_experiment.csv")
[ ${#maps[@]} -gt 0 ] || maps=("$here/Data/demo/demo_neuron_map.json")

python=${PYTHON:-python3}
[ -n "${PYTHON:-}" ] || [ ! -x "$here/.venv/bin/python" ] || python=$here/.venv/bin/python
refuse_twins() {
    local files=$1 path twice
    shift
    twice=$(for path in "$@"; do basename "${path%.*}"; done | sort | uniq -d | head -n 1)
    [ -z "$twice" ] || { echo "error: two $files are called $twice; their results would overwrite each other" >&2; exit 2; }
}
refuse_twins tables "${tables[@]}"
refuse_twins maps "${maps[@]}"
mkdir -p "$out" || exit 2

runs=() failed=0
for table in "${tables[@]}"; do
    for map in "${maps[@]}"; do
        name=$(basename "${table%.*}")__$(basename "${map%.json}")
        echo "== $name"
        "$python" "$here/interpretability_score.py" "$table" "$map" "$out/$name.csv" ${options[@]+"${options[@]}"}
        code=$?
        if [ $code -eq 0 ]; then
            runs+=("$out/$name.csv")
        elif [ $code -eq 130 ]; then
            echo "Stopped." >&2
            exit 130
        else
            failed=$((failed + 1))
            echo "FAILED: $table with $map" >&2
        fi
    done
done

echo
"$python" - "$failed" ${runs[@]+"${runs[@]}"} <<'EOF'
import csv, pathlib, sys

failed, paths = int(sys.argv[1]), sys.argv[2:]
print(f"Summary: {len(paths)} scored, {failed} failed")
width = max([len(pathlib.Path(path).stem) for path in paths] + [3])
if paths:
    print(f"{'run':<{width}}  neurons  mean   highest                lowest")
for path in paths:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scored = [row for row in rows if row["InterpScore"]]
    mean = sum(float(row["InterpScore"]) for row in scored) / len(scored) if scored else float("nan")
    ends = [f"{float(row['InterpScore']):.3f} {row['Neuron']} {row['Concept']}" for row in (scored[:1] + scored[-1:])]
    print(f"{pathlib.Path(path).stem:<{width}}  {len(rows):>7}  {mean:.3f}  " + "  ".join(f"{end:<21}" for end in ends).rstrip())
EOF
[ "$failed" -eq 0 ] || exit 1
