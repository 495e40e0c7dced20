#!/usr/bin/env bash
# Print the Pythons of this machine that the project runs on, one path a line, the best first; exit 1 if there is none.
#
#   bin/find_python.sh           python3, then python3.13, 3.12 and 3.11 of the PATH, then those of pyenv
#   bin/find_python.sh PYTHON    this one alone, with the reason if it is of no use
#
# Of each version only the first is printed. The versions are those of requires-python in pyproject.toml.
set -euo pipefail

check='
import sys
if not (3, 11) <= sys.version_info[:2] < (3, 14):
    print("it is Python " + ".".join(map(str, sys.version_info[:3])))
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError as error:
    print("it lacks %s (Debian and Ubuntu: apt-get install python3-venv)" % error.name)
    sys.exit(1)
print("%d.%d" % sys.version_info[:2])
'

if (($# > 0)); then
  candidates=("$1")
else
  shopt -s nullglob
  candidates=(python3 python3.13 python3.12 python3.11)
  candidates+=("${PYENV_ROOT:-${HOME:-/root}/.pyenv}"/versions/3.1[123].*/bin/python)
fi

seen=' '
reasons=
for candidate in "${candidates[@]}"; do
  path=$(command -v -- "$candidate") || {
    reasons+="  $candidate: there is no such program"$'\n'
    continue
  }
  # A shim of pyenv is there for every version, and runs only where that version is switched on.
  if ! answer=$("$path" -c "$check" 2>/dev/null); then
    reasons+="  $candidate: ${answer:-it does not run}"$'\n'
  elif [[ $seen != *" $answer "* ]]; then
    seen+="$answer "
    echo "$path"
  fi
done

if [[ $seen == ' ' ]]; then
  printf 'No Python 3.11, 3.12 or 3.13 with venv was found:\n%s' "$reasons" >&2
  echo 'Install one, or name it: make PYTHON=/path/to/python3.12 smoke' >&2
  exit 1
fi
