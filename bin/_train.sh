#!/usr/bin/env bash
# What the three train_*.sh have in common: MODE, then perhaps voice or text, then flags of DeepSpeech.py.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

mode=$1
shift
kind=auto
case ${1-} in
  voice | text | auto)
    kind=$1
    shift
    ;;
esac
for argument in "$@"; do
  case $argument in
    --mode | --mode=* | -mode | -mode=* | --voice_mode | --voice_mode=* | -voice_mode | -voice_mode=*)
      echo "${argument%%=*}: this script sets it; call DeepSpeech.py to choose yourself" >&2
      exit 2
      ;;
  esac
done

python=${PYTHON:-}
if [[ -z $python ]]; then
  python=python3
  [[ -x $root/.venv/bin/python ]] && python=$root/.venv/bin/python
fi
exec "$python" "$root/DeepSpeech.py" --mode "$mode" --voice_mode "$kind" "$@"
