#!/usr/bin/env bash
# LibriSpeech to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/librispeech.sh ARCHIVES_OR_FOLDER [any flags of bin/import_librivox.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_librivox.py "$@"
