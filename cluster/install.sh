#!/usr/bin/env bash
# Installs collapse-ray into .venv of this checkout, every package at the version of constraints.txt.
#
#   cluster/install.sh [MORE_PACKAGES...]    # on every machine, or once on a file system that all of them see
#
# Python is the one that constraints.txt was made with; uv brings it where the machine has none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

UV_VERSION=0.13.8
python=$(sed -n 's/^# .*Made with Python \(3\.[0-9]*\).*/\1/p' constraints.txt)

if ! uv=$(command -v uv); then
  uv=$PWD/.uv/bin/uv
  [[ -x $uv ]] || python3 -m pip install --quiet --target .uv "uv==$UV_VERSION"
fi
"$uv" venv --quiet --allow-existing --python "$python" .venv
# uv takes a package of the same version for the same code, hence --reinstall-package.
"$uv" pip install --quiet --python .venv/bin/python --constraints constraints.txt \
  --reinstall-package collapse-ray . "$@"
