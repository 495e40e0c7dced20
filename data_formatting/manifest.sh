#!/usr/bin/env bash
# Any CSV, TSV or file of JSON lines with named columns to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/manifest.sh ARCHIVE_OR_FOLDER TABLE [any flags of bin/import_manifest.py]
#   data_formatting/manifest.sh ARCHIVE_OR_FOLDER --train TABLE --dev TABLE --test TABLE
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 1)) || usage
run_importer import_manifest.py "$@"
