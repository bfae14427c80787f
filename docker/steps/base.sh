# What a base must have: Python, and tini to pass signals on and reap. Installed where missing.
set -eu

missing=""
command -v python3 >/dev/null || missing="$missing python3"
command -v tini >/dev/null || missing="$missing tini"
if [ -n "$missing" ]; then
    if ! { apt-get update -qq && apt-get install -yqq --no-install-recommends $missing; }; then
        echo "the base lacks$missing and it cannot be installed: give a base that has it" >&2
        exit 1
    fi
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/*.log /var/log/apt
fi
python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || {
    echo "the base has $(python3 --version): Chainsight needs 3.11 or 3.12" >&2
    exit 1
}
# A name for the uid: some libraries ask for it. Not in groups, no shell, no home of its own.
echo 'chainsight:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd
echo 'chainsight:x:10001:' >> /etc/group
python3 -m venv --without-pip /opt/chainsight
