#!/usr/bin/env bash
# Makes a virtual environment once, and removes those of older requirements. Usage: venv.sh PYTHON DIR REQUIREMENTS
set -euo pipefail
python=$1 dir=$2 requirements=$3
echo "Installing $requirements into $dir (once) …" >&2
began=$SECONDS
rm -rf "${dir%-*}"-*
"$python" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --no-compile --requirement "$requirements" || {
  echo "error: pip could not install $requirements (its reason is above): check the network and the free space" >&2
  exit 1
}
touch "$dir/ready"
echo "  done in $((SECONDS - began)) s" >&2
