# Names of locks -> /kit/wheels, each file checked against its hash, and /kit/pins/<name>.txt.
# What has no wheel (kfp-server-api) is built here from its checked source, so the pins that the
# images install from bear no hashes.
set -eu
. /kit/index.sh

mkdir -p /kit/wheels /kit/pins
for name in "$@"; do
    lock="/kit/requirements/$name.txt"
    [ "$name" != torch-wheelhouse ] || lock=/wheelhouse/torch.txt
    [ -f "$lock" ] || { echo "no $lock: see docs/images.md on torch" >&2; exit 1; }
    /kit/tools/bin/python -m pip wheel $INDEX --require-hashes --no-deps --no-build-isolation \
        --use-pep517 --wheel-dir /kit/wheels -r "$lock"
    sed -E '/^ *(--hash|#)/d; s/ *\\$//; s/ --hash=.*//' "$lock" > "/kit/pins/$name.txt"
done
