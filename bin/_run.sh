# shellcheck shell=bash
# To be sourced: run PROGRAM ARGUMENTS..., with SIGHUP, SIGINT and SIGTERM passed on to it, and its exit code.
#
# Python runs in the background, or bash would hold a signal back until it is done; and as a job of its own (set -m),
# so that Ctrl-C reaches it once, from here, and is not ignored as in other background processes.
set -m
child=
signal=
on_signal() {
  signal=$1
  [[ -z $child ]] || kill -s "$signal" "$child" 2>/dev/null || true
}
trap 'on_signal HUP' HUP
trap 'on_signal INT' INT
trap 'on_signal TERM' TERM

run() {
  local status
  "$@" &
  child=$!
  # A signal that came before `child` was known.
  [[ -z $signal ]] || kill -s "$signal" "$child" 2>/dev/null || true
  while true; do
    status=0
    wait "$child" || status=$?
    # A trapped signal ends `wait` early: the child is still saving its checkpoint.
    if ((status <= 128)) || ! kill -0 "$child" 2>/dev/null; then break; fi
  done
  child=
  return "$status"
}
