#!/usr/bin/env bash
# Runs a command of embermill and repeats it while it exits with 33 (interrupted or transient), at most ten times, with growing pauses.
# Every other exit code ends it at once and is passed on: 0 done, 1 a defect, 2 for a person to fix, 3 bad data, 4 another run is at work.
#
#   repeat.sh COMMAND ARGUMENT...        REPEAT_PAUSE_S: the first pause, 15 s unless given; each one doubles it, up to 15 minutes
#
# SIGTERM and SIGINT go to the command, which commits what is ready; it is not repeated after them.
set -uo pipefail

if [ $# -eq 0 ]; then
  echo "repeat.sh: expected a command" >&2
  exit 2
fi
most=10
pause_s=${REPEAT_PAUSE_S:-15}
longest_s=900
child=
told=

pass_on() {
  told=1
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap pass_on TERM INT

for ((repeats = 0; ; repeats++)); do
  "$@" &
  child=$!
  wait "$child"
  code=$?
  while kill -0 "$child" 2>/dev/null; do # the wait was interrupted by a signal that was passed on
    wait "$child"
    code=$?
  done
  child=
  if [ "$code" -ne 33 ] || [ -n "$told" ] || [ "$repeats" -ge "$most" ]; then
    exit "$code"
  fi
  echo "repeat.sh: exit code 33, repeat $((repeats + 1)) of $most in $pause_s s" >&2
  sleep "$pause_s" &
  child=$!
  wait "$child" || true
  child=
  [ -z "$told" ] || exit 33
  pause_s=$((pause_s * 2 < longest_s ? pause_s * 2 : longest_s))
done
