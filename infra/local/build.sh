#!/usr/bin/env bash
# Builds the functions for AWS Lambda's provided.al2023: target/lambda/NAME/bootstrap. Usage: build.sh PACKAGER_VENV ARCH
#
# zig links them against the glibc of Amazon Linux 2023 (2.34), whatever the machine that builds has.
set -euo pipefail
venv=$PWD/$1 arch=$2
case $arch in
  arm64) target=aarch64-unknown-linux-gnu ;;
  x86_64) target=x86_64-unknown-linux-gnu ;;
  *)
    echo "error: ARCH is arm64 or x86_64, not $arch" >&2
    exit 2
    ;;
esac
if command -v rustup >/dev/null; then
  rustup target add "$target" 2>/dev/null \
    || { echo "error: rustup could not add the target $target: is the network reachable?" >&2; exit 1; }
fi
functions=()
for manifest in functions/*/Cargo.toml; do
  functions+=(--package "cpis-$(basename "$(dirname "$manifest")")")
done
export PATH="$venv/bin:$PATH"
# `_ping` and `_status` tell what was built.
CPIS_COMMIT=$(git rev-parse HEAD 2>/dev/null || echo unknown)
CPIS_REVISION=$(git describe --tags --always --dirty 2>/dev/null || echo unreleased)
export CPIS_COMMIT CPIS_REVISION
"$venv/bin/cargo-lambda" lambda build --profile deployed --locked --target "$target" --lambda-dir target/lambda-built "${functions[@]}"
for built in target/lambda-built/cpis-*/bootstrap; do
  name=$(basename "$(dirname "$built")")
  mkdir -p "target/lambda/${name#cpis-}"
  cp "$built" "target/lambda/${name#cpis-}/bootstrap"
done
du -h target/lambda/*/bootstrap
