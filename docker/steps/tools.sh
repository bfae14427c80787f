# /kit/tools: pip and the build backend, hash-checked, for the builder alone.
set -eu
. /kit/index.sh

if ! python3 -c 'import ensurepip' 2>/dev/null; then
    apt-get update -qq && apt-get install -yqq --no-install-recommends python3-venv || {
        echo "the base has no ensurepip: give one with python3-venv" >&2
        exit 1
    }
fi
python3 -m venv /kit/tools
/kit/tools/bin/python -m pip install $INDEX --require-hashes --no-deps -r /kit/requirements/build.txt
