#!/usr/bin/env bash
# Fill a folder with everything that the images install, for a build without network.
#
#   docker/wheelhouse.sh FOLDER [cuda|TORCH]
#
# cuda (default) takes the torch of requirements/torch-cuda.txt. Any other word is a requirement
# (torch==2.13.0) that pip finds where it is set up to look (an index or folder of yours); its hash
# is written to FOLDER/torch.txt, and the build wants `--torch wheelhouse`. The Python that runs
# this decides the wheels' platform: PYTHON=python3.11, as in the base.
set -euo pipefail

requirements=$(cd "$(dirname "$0")" && pwd)/requirements
folder=$(mkdir -p "${1:?name a folder}" && cd "$1" && pwd)
torch=${2:-cuda}
pip() { "${PYTHON:-python3}" -m pip --disable-pip-version-check --quiet "$@"; }

locks=()
for name in build prepare distill sft sample pair dpo evaluate register mlflow; do
    locks+=(-r "$requirements/$name.txt")
done
[ "$torch" != cuda ] || locks+=(-r "$requirements/torch-cuda.txt")
# kfp-server-api is published as source alone; the builder makes its wheel.
pip download --require-hashes --no-deps --only-binary=:all: --no-binary=kfp-server-api \
    --dest "$folder" "${locks[@]}"
if [ "$torch" != cuda ]; then
    rm -f "$folder"/torch-*.whl
    pip download --no-deps --only-binary=:all: --dest "$folder" "$torch"
    wheel=$(basename "$folder"/torch-*.whl)
    # The version without its local part: both 2.13.0 and 2.13.0+cpu satisfy it.
    version=$(sed -E 's/^torch-([0-9.]+).*/\1/' <<< "$wheel")
    sum=$(sha256sum "$folder/$wheel" | cut -d' ' -f1)
    printf 'torch==%s --hash=sha256:%s\n' "$version" "$sum" > "$folder/torch.txt"
fi
echo "$folder: $(find "$folder" -name '*.whl' -o -name '*.tar.gz' | wc -l) packages," \
    "$(du -sh "$folder" | cut -f1)"
