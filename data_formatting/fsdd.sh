#!/usr/bin/env bash
# The Free Spoken Digit Dataset to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/fsdd.sh ARCHIVE_OR_FOLDER [any flags of bin/import_fsdd.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_fsdd.py "$@"
