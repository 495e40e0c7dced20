#!/usr/bin/env bash
# Google's Speech Commands, or another corpus of its layout, to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/speech_commands.sh ARCHIVE_OR_FOLDER [any flags of bin/import_speech_commands.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
run_importer import_speech_commands.py "$@"
