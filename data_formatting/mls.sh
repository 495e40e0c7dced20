#!/usr/bin/env bash
# Multilingual LibriSpeech to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/mls.sh ARCHIVE_OR_FOLDER [any flags of bin/import_mls.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_mls.py "$@"
