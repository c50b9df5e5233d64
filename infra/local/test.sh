#!/usr/bin/env bash
# Every test. The journeys and the API tester meet the release binaries on the emulator, deployed from template.yaml.
# Usage: test.sh EMULATOR_VENV TOOLS_VENV MESH_VENV WIRE_VENV
#
# Each profile is built by one cargo invocation for the whole workspace: with another selection of packages cargo would unify
# other features and build the SDKs again.
set -euo pipefail
emulator=$1/bin/python tools=$2/bin/python
# The NHS's own test server of MESH, which the pushes meet.
export CPIS_MESH_PYTHON=$PWD/$3/bin/python
# microburst, which injects faults between functions and AWS.
export CPIS_WIRE_PYTHON=$PWD/$4/bin/python
local_dir=target/local-test
output=target/test.log

phase() {
  local name=$1 began=$SECONDS
  shift
  printf '\n==> %s\n' "$name"
  "$@" || {
    printf '==> %s: FAILED after %d s\n' "$name" $((SECONDS - began)) >&2
    exit 1
  }
  printf '==> %s: %d s\n' "$name" $((SECONDS - began))
}

build_tests() { cargo test --locked --workspace --no-run; }
build_release() { cargo build --locked --release --workspace --exclude cpis-tests; }
start_stack() { "$emulator" infra/local/stack.py up --port 0 --dir "$local_dir" --log-level TRACE; }
stop_stack() { "$emulator" infra/local/stack.py down --dir "$local_dir"; }
# Those that need the stack are ignored elsewhere. Cargo runs the binaries by name: `leak` searches what `journeys` left.
run_tests() { cargo test --locked --workspace --no-fail-fast -- --include-ignored 2>&1 | tee "$output"; }
run_api_tests() { "$tools" tests/openapi/run.py "$CPIS_TEST_STACK"; }

# The sum of all `test result` lines, in the words of cargo test. Usage: count_tests ok|FAILED
count_tests() {
  awk -v word="$1" '/^test result: / { for (i = 4; i <= NF; i++) if ($i ~ /^(passed|failed|ignored|measured);?$/ || ($i == "filtered")) n[substr($i, 1, 4)] += $(i - 1) }
    END { printf "test result: %s. %d passed; %d failed; %d ignored; %d measured; %d filtered out\n",
      word, n["pass"], n["fail"], n["igno"], n["meas"], n["filt"] }' "$output"
}

finish() {
  local status=$?
  stop_stack >/dev/null || true
  echo
  [ ! -f "$output" ] || count_tests "$([ "$status" -eq 0 ] && echo ok || echo FAILED)"
  exit "$status"
}

mkdir -p target
rm -f "$output"
export CPIS_TEST_STACK=$PWD/$local_dir/stack.json CPIS_BINARIES=$PWD/target/release
trap finish EXIT
phase "Build the tests" build_tests
phase "Build the release binaries" build_release
phase "Start the stack" start_stack
phase "Test" run_tests
phase "Test the API against openapi.yaml" run_api_tests
