#!/usr/bin/env bash
# Builds a command of cargo's once, and removes older versions of it. Usage: cargo-tool.sh DIR/NAME-VERSION
set -euo pipefail
dir=$1
crate=$(basename "${dir%-*}") version=${dir##*-}
echo "Building $crate $version into $dir (once) …" >&2
began=$SECONDS
rm -rf "${dir%-*}"-*
export CARGO_PROFILE_DEV_DEBUG=0
# A target directory of its own, thrown away: it is as large as the tool is small.
cargo install --quiet --locked --debug --root "$dir" --target-dir "$dir/build" "$crate@$version" || {
  echo "error: cargo could not install $crate (its reason is above): check the network and the free space" >&2
  exit 1
}
rm -rf "$dir/build"
touch "$dir/ready"
echo "  done in $((SECONDS - began)) s" >&2
