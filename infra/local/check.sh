#!/usr/bin/env bash
# Says in one line what this machine lacks for `make demo` and `make test`. Usage: check.sh PYTHON
set -euo pipefail
python=$1
need_mb=3000 # release build, virtual environment and emulator together

fail() {
  echo "error: $*" >&2
  exit 1
}

command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs, then open a new shell"
command -v cc >/dev/null || fail "no C compiler, which Rust links with: apt-get install build-essential (macOS: xcode-select --install)"
command -v "$python" >/dev/null || fail "$python is missing: install Python 3.11, or say where it is with PYTHON=…"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "Python 3.11 or later is needed and $python is $("$python" -V 2>&1): set PYTHON=python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null \
  || fail "$python cannot make virtual environments: apt-get install python3-venv"
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ -d target/release ] || [ "$free_mb" -ge "$need_mb" ] \
  || fail "only $free_mb MB are free here and $need_mb MB are needed: make room, or clone to another disk"
