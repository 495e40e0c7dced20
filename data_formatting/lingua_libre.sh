#!/usr/bin/env bash
# Lingua Libre to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/lingua_libre.sh ARCHIVE_OR_FOLDER [any flags of bin/import_lingua_libre.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_lingua_libre.py "$@"
