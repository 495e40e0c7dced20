#!/usr/bin/env bash
# VoxForge to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/voxforge.sh FOLDER_OR_ARCHIVES [any flags of bin/import_voxforge.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_voxforge.py "$@"
