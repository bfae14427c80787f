# Put the pins of a lock, or Chainsight itself (`package`), into the image's environment, from
# /kit alone. The image gets no pip.
set -eu

pip() {
    /kit/tools/bin/python -m pip --python /opt/chainsight/bin/python --quiet \
        --disable-pip-version-check --no-cache-dir "$@"
}

if [ "$1" = package ]; then
    pip install --no-deps --no-index /dist/chainsight-*.whl
    pip check
else
    pip install --no-deps --no-index --find-links /kit/wheels -r "/kit/pins/$1.txt"
fi
