#!/usr/bin/env bash
# Writes what each function and the operator's command is made of, as CycloneDX 1.5: target/sbom/NAME.cdx.json.
# Usage: sbom.sh CARGO_CYCLONEDX ARCH
set -euo pipefail
tool=$1 arch=$2
case $arch in
  arm64) target=aarch64-unknown-linux-gnu ;;
  x86_64) target=x86_64-unknown-linux-gnu ;;
  *)
    echo "error: ARCH is arm64 or x86_64, not $arch" >&2
    exit 2
    ;;
esac
# The tool knows one place only, beside each manifest of the workspace.
name=sbom-$$
sweep() { find functions infra shared tests -name "$name.json" -delete; }
trap sweep EXIT
# The same commit gives the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
"$tool" cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename "$name"
rm -rf target/sbom
mkdir -p target/sbom
for made in functions/*/"$name.json" infra/ops/"$name.json"; do
  mv "$made" "target/sbom/$(basename "$(dirname "$made")").cdx.json"
done
mv target/sbom/ops.cdx.json target/sbom/cpis.cdx.json
ls target/sbom/*
