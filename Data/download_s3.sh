#!/usr/bin/env bash
# What the three download scripts share: ./download_s3.sh DATA_SET FOLDER [OPTIONS] runs `interpscore data download`.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
interpscore=$here/../.venv/bin/interpscore
[ -x "$interpscore" ] || interpscore=$(command -v interpscore) || {
    echo "error: interpscore is not installed; type: pip install --editable '$(dirname "$here")[data]'" >&2
    exit 2
}
exec "$interpscore" data download "$1" --to "$here/$2" "${@:3}"
