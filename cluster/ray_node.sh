#!/usr/bin/env bash
# Starts the Ray node of this checkout, or ends it.
#
#   cluster/ray_node.sh start [OPTIONS OF ray start...]    # the node that runs already, if any, is ended first
#   cluster/ray_node.sh stop
#
# Ray's own way to end a node is to end every Ray process of the user on the machine. Here it is the process that was
# started here, by the id that was written down; Ray's processes end with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=cluster/ray_env.sh
. cluster/ray_env.sh
PATH=$PWD/.venv/bin:$PATH

PID_FILE=.ray_node.pid
LOG=.ray_node.log
START_S=180
STOP_S=90 # Ray drains a node for up to 30 s

# The id of the node that was started here; fails if it has ended. After a reboot the number may be another process's.
running() {
  local pid
  [[ -s $PID_FILE ]] || return 1
  pid=$(<"$PID_FILE")
  [[ $({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) == *'ray start --block '* ]] && echo "$pid"
}

stop() {
  local pid end=$((SECONDS + STOP_S))
  if pid=$(running); then
    kill -TERM "$pid"
    while [[ $(running) == "$pid" ]]; do
      if ((SECONDS >= end)); then
        kill -KILL "$pid" # Ray's reaper ends the rest
        break
      fi
      sleep 0.2
    done
  fi
  rm -f "$PID_FILE"
}

start() {
  local pid end=$((SECONDS + START_S))
  stop
  ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
  # A session of its own, so that the node outlives the SSH connection.
  setsid ray start --block "$@" >"$LOG" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$PID_FILE"
  until grep -q 'Ray runtime started' "$LOG"; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= end)); then
      echo "Ray did not start; the end of $PWD/$LOG:" >&2
      tail -n 40 "$LOG" >&2
      stop
      exit 1
    fi
    sleep 0.2
  done
}

case ${1:-} in
  start) start "${@:2}" ;;
  stop) stop ;;
  *)
    echo "usage: $0 start [OPTIONS OF ray start...] | stop" >&2
    exit 2
    ;;
esac
