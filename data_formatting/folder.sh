#!/usr/bin/env bash
# A folder of recordings with a text beside each to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/folder.sh FOLDER_OR_ARCHIVE [any flags of bin/import_folder.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_folder.py "$@"
