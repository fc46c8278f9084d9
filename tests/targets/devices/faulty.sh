#!/bin/sh
# Gets in the way of a program of a device, for tests. usage: faulty.sh FAULT PROGRAM [WORD...]
#
#   now          the connection that we came through is cut, then the program runs
#   describe golden load warm-up measuring   the same, when the runner has come to that step
#   hung         golden outputs never come, and the program notices nothing
#   wrong        golden outputs have one byte that is another
fault=$1
shift

parent() {
  while read -r key value _; do
    [ "$key" != PPid: ] || echo "$value"
  done <"/proc/$1/status"
}

# As when a cable is pulled: the server above us is gone, and whatever it had started goes on.
cut() {
  process=$$
  while [ "$process" -gt 1 ]; do
    read -r name <"/proc/$process/comm"
    case $name in sshd* | adbd) kill -9 "$process" && return ;; esac
    process=$(parent "$process")
  done
}

# What the runner was asked for: words of its command line, and of the plan in this folder.
step() {
  case " $* " in
  *" describe "*) echo describe ;;
  *)
    case $(/usr/bin/cat plan.txt) in
    *"outputs 1"*) echo golden ;;
    *"min_runs 0"*) echo load ;;
    *) echo timing ;;
    esac
    ;;
  esac
}

case $fault in
now) (cut) ;;
describe | golden | load) [ "$(step "$@")" != "$fault" ] || (cut) ;;
# Both by the clock: the runner loads for some tenths of a second, warms up for half a second, then measures.
warm-up) [ "$(step "$@")" != timing ] || (sleep 0.4 && cut) & ;;
measuring) [ "$(step "$@")" != timing ] || (sleep 2 && cut) & ;;
hung) [ "$(step "$@")" != golden ] || exec sleep 600 ;;
wrong)
  "$@" || exit
  [ "$(step "$@")" != golden ] || printf '\177' | dd of=0.0.0.bin bs=1 seek=3 conv=notrunc 2>/dev/null
  exit
  ;;
esac
exec "$@"
