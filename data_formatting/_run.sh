# shellcheck shell=bash
# What the scripts of this folder share; they read it with `source`.
#
# Paths count from where the script is called. The interpreter: $PYTHON, else .venv/bin/python of the project, else python3.
# The corpora go to persistent-data/corpora/ of the project, unless --output_dir says.

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
corpora=${DEEPSPEECH_CORPORA:-$project/persistent-data/corpora}

usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# run_importer SCRIPT ARGUMENTS...
run_importer() {
  local script=$1 python=${PYTHON:-}
  shift
  if [[ -z $python ]]; then
    python=python3
    [[ -x $project/.venv/bin/python ]] && python=$project/.venv/bin/python
  fi
  DEEPSPEECH_CORPORA=$corpora exec "$python" "$project/bin/$script" "$@"
}
