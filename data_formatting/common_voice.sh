#!/usr/bin/env bash
# Common Voice to train.csv, dev.csv and test.csv on the volume.
#
#   data_formatting/common_voice.sh ARCHIVE_OR_FOLDER [LANGUAGE] [any flags of bin/import_cv2.py]
#
# The archive is read as it was downloaded (.tar.gz); it need not be unpacked. A second run resumes where the first one stopped.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_run.sh"

(($# > 0)) || usage
corpus=$1
shift
if (($# > 0)) && [[ $1 != -* ]]; then
  set -- --language "$1" "${@:2}"
fi
run_importer import_cv2.py "$corpus" "$@"
