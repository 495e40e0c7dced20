#!/usr/bin/env bash
# The one clip LDC93S1 of the smoke test to ldc93s1.csv on the volume.
#
#   data_formatting/ldc93s1.sh [DIR] [any flags of bin/import_ldc93s1.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

directory=$corpora/ldc93s1
if (($# > 0)) && [[ $1 != -* ]]; then
  directory=$1
  shift
fi
run_importer import_ldc93s1.py "$directory" "$@"
