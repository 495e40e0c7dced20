#!/usr/bin/env bash
# What an image runs: `docker run IMAGE [shell]` or `docker run IMAGE COMMAND ...`, whose exit code it ends with.
#
#   shell                  bash, with a banner that says what there is (the default)
#   smoke                  train on one clip until it is right; needs no network and no volume
#   train FLAGS            DeepSpeech.py FLAGS
#   test FLAGS             the same, without training
#   app FLAGS              deepspeech app FLAGS: train where the volume has no model, serve where it has one (docs/app.md)
#   serve FLAGS            deepspeech serve FLAGS, on all addresses of the container: wants a key, or --no_key
#   format CORPUS ...      data_formatting/CORPUS.sh ...; without CORPUS: which there are
#   doctor                 check GPU, volume, disk, memory ...
#   NAME ...               another program of bin/, such as transcribe; or any program of the image
#
# As root it runs as the owner of the volume, if that is somebody else, so that files belong to the person whose
# folder it is. DEEPSPEECH_USER=UID:GID names another one (0:0 stays root). `docker run -u` is left as it is.
set -euo pipefail
cd /DeepSpeech

if [[ $(id -u) == 0 ]]; then
  user=${DEEPSPEECH_USER:-$(stat -c %u:%g persistent-data)}
  if [[ ! $user =~ ^[0-9]+:[0-9]+$ ]]; then
    echo "entrypoint: DEEPSPEECH_USER=$user must be two numbers: UID:GID" >&2
    exit 2
  fi
  if [[ $user != 0:* ]]; then
    exec setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups -- "$0" "$@"
  fi
fi

. docker/environment.sh

case ${1:-shell} in
  shell)
    shift || true
    [[ -t 0 ]] || python -m deepspeech_training.machine.banner # an interactive bash shows it by itself
    exec bash "$@"
    ;;
  smoke)
    shift
    [[ -w persistent-data/corpora ]] || export LDC93S1_DIR="${LDC93S1_DIR:-${TMPDIR:-/tmp}/ldc93s1}"
    export LDC93S1_SOURCE=${LDC93S1_SOURCE:-synthetic}
    exec bin/run-ldc93s1.sh "$@"
    ;;
  train)
    shift
    exec python DeepSpeech.py "$@"
    ;;
  test)
    shift
    exec python DeepSpeech.py "$@" --epochs 0
    ;;
  app | serve)
    command=$1
    shift
    exec deepspeech "$command" --host 0.0.0.0 "$@"
    ;;
  format)
    shift
    corpora=()
    for script in data_formatting/*.sh; do
      [[ ! -x $script ]] || corpora+=("$(basename "$script" .sh)")
    done
    if (($# == 0)) || [[ ! " ${corpora[*]} " == *" $1 "* ]]; then
      echo "usage: format CORPUS ...   with one of: ${corpora[*]:-(none in this version)}" >&2
      exit 2
    fi
    corpus=$1
    shift
    exec "data_formatting/$corpus.sh" "$@"
    ;;
  -h | --help | help)
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
    exit 0
    ;;
esac
if [[ $1 != */* && -x bin/$1 ]]; then
  program=bin/$1
  shift
  exec "$program" "$@"
elif ! command -v -- "$1" >/dev/null; then
  echo "entrypoint: there is no command or program $1; \`help\` lists the commands" >&2
  exit 2
fi
exec "$@"
