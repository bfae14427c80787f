# /source -> /dist: the wheel of Chainsight itself.
set -eu
/kit/tools/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-index \
    --no-build-isolation --wheel-dir /dist /source
