# Where pip looks: the wheelhouse alone if there is one, else the package index.
INDEX="--quiet --disable-pip-version-check --no-cache-dir"
if [ -n "$(ls -A /wheelhouse 2>/dev/null)" ]; then
    INDEX="$INDEX --no-index --find-links /wheelhouse"
fi
