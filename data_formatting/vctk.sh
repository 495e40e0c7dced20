#!/usr/bin/env bash
# VCTK to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/vctk.sh ARCHIVE_OR_FOLDER [any flags of bin/import_vctk.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_vctk.py "$@"
