#!/bin/sh
# Compares the speed of training with PyTorch's, which is installed for this alone: in a virtual environment of its own
# below the build folder, 5 GB with the GPU libraries that PyTorch's package asks for. Remove that folder to be rid of it.
# FORECASTD_BENCH_PYTHON names a Python that has PyTorch already.
set -eu
cd "$(dirname "$0")/.."
# The newest at the time of writing; pinned, so that figures can be compared.
torch=2.15.0
folder=${CARGO_TARGET_DIR:-target}/pytorch-$torch

if [ -z "${FORECASTD_BENCH_PYTHON:-}" ]; then
    if [ ! -e "$folder/complete" ]; then
        command -v python3 >/dev/null || { echo "python3 is needed, with its module venv" >&2; exit 1; }
        echo "installing PyTorch $torch in $folder"
        rm -rf "$folder"
        python3 -m venv "$folder"
        "$folder/bin/pip" install --quiet "torch==$torch" numpy
        touch "$folder/complete"
    fi
    FORECASTD_BENCH_PYTHON=$(cd "$folder" && pwd)/bin/python
fi
export FORECASTD_BENCH_PYTHON
exec cargo bench --locked --bench tables -- pytorch
