#!/usr/bin/env bash
# AN4 to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/an4.sh ARCHIVE_OR_FOLDER [any flags of bin/import_an4.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_an4.py "$@"
