#!/usr/bin/env bash
# Prove the images on one machine: `make containers`.
#
#   docker/prove.sh [--if-possible]
#
# 1. an engine: the one that answers; else, as root, one of our own for as long as this takes
# 2. a base, made on the spot (debootstrap and Python), and a wheelhouse
# 3. all nine images from those two without network, pushed to a registry on the loopback
# 4. tests/containers: the smoke run through KFP's DockerRunner in them, locked down
#
# Without an engine this fails, or with --if-possible says so and ends well: that is for CI, where
# not every machine may start one. What can be kept for the next time is in KEEP.
set -euo pipefail
cd "$(dirname "$0")/.."

KEEP=${KEEP:-${XDG_CACHE_HOME:-$HOME/.cache}/chainsight-containers}
PYTHON=$(command -v "${PYTHON:-python3}")
SUITE=bookworm # its Python is 3.11
work=$(mktemp -d)
started=()
mkdir -p "$KEEP"

step() { printf '\n== %s\n' "$*"; }
finish() {
    for pid in "${started[@]}"; do kill "$pid" 2> /dev/null && wait "$pid" 2> /dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

no_engine() {
    echo "containers: NOT PROVEN on this machine: $1"
    [ "${2:-}" = --if-possible ] && exit 0
    echo "start a Docker engine, or run this as root where Debian's docker.io can be installed" >&2
    exit 1
}

installed() { # a command of a Debian package, fetched where that can be done
    command -v "$1" > /dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
    { apt-get update && apt-get install -y --no-install-recommends "$2"; } > "$work/apt.log" 2>&1
    command -v "$1" > /dev/null
}

# ------------------------------------------------------------------ 1. an engine
answers() { docker info > /dev/null 2>&1; }

start_engine() {
    [ "$(id -u)" = 0 ] && installed dockerd docker.io || return 1
    export DOCKER_HOST=unix://$work/docker.sock
    # No network for anyone: images are built and run without, and the host stays as it is.
    dockerd --data-root "$KEEP/engine" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
        --host "$DOCKER_HOST" --bridge=none --iptables=false > "$KEEP/engine.log" 2>&1 &
    started+=($!)
    for _ in $(seq 60); do
        answers && return
        kill -0 "${started[0]}" 2> /dev/null || return 1
        sleep 0.5
    done
    return 1
}

client() { # a client that can build: with buildx, or old enough to have BuildKit in it
    for one in "${DOCKER:-docker}" /usr/bin/docker; do
        "$one" buildx version > /dev/null 2>&1 && { echo "$one"; return; }
        version=$("$one" version --format '{{.Client.Version}}' 2> /dev/null) || continue
        [ "${version%%.*}" -lt 23 ] && { echo "$one"; return; }
    done
    return 1
}

own=
step "an engine"
free=$(($(df --output=avail -k "$KEEP" | tail -1) / 1000000))
[ "$free" -ge 15 ] || no_engine "$free GB free at $KEEP, 15 are needed (KEEP names another place)" "$@"
command -v docker > /dev/null || installed docker docker.io || no_engine "no docker client" "$@"
if ! answers; then
    start_engine || no_engine "no engine answers and none could be started" "$@"
    own=1
fi
docker=$(client) || no_engine "the docker client has neither buildx nor BuildKit in it" "$@"
echo "$("$docker" version --format 'server {{.Server.Version}}, client {{.Client.Version}}')${own:+, started here}"

# ------------------------------------------------------------------ 2. base and wheelhouse
base=chainsight-base:$SUITE
if ! "$docker" image inspect "$base" > /dev/null 2>&1; then
    step "a base: $SUITE with Python and tini"
    installed debootstrap debootstrap || no_engine "no debootstrap" "$@"
    debootstrap --variant=minbase --include=python3,python3-venv,tini,ca-certificates "$SUITE" \
        "$work/base" > "$KEEP/debootstrap.log" || no_engine "debootstrap reaches no Debian mirror" "$@"
    tar -C "$work/base" -c --exclude=./proc --exclude=./sys --exclude=./usr/share/doc \
        --exclude=./var/cache/apt --exclude=./var/lib/apt/lists . | "$docker" import - "$base"
fi

wheels=$KEEP/wheelhouse-$(cat docker/requirements/*.txt | sha256sum | cut -c1-12)
torch=wheelhouse
step "a wheelhouse: $wheels"
if ! [ -f "$wheels/torch.txt" ]; then
    PYTHON=$PYTHON docker/wheelhouse.sh "$wheels" "${TORCH:-torch==2.13.0+cpu}" 2> "$KEEP/pip.log" || {
        echo "no CPU build of torch to be had here (TORCH names one): the CUDA build"
        docker/wheelhouse.sh "$wheels" cuda
        torch=cuda
    }
fi

# ------------------------------------------------------------------ 3. the images
start_registry() {
    [ -n "$own" ] && installed docker-registry docker-registry || return 1
    port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
        "$work/registry" "$port" > "$work/registry.yml"
    docker-registry serve "$work/registry.yml" > "$KEEP/registry.log" 2>&1 &
    started+=($!)
}

push=() named=tag
if start_registry; then push=(--push --prefix "127.0.0.1:$port/proof/") named=digest; fi
step "nine images without network, by $named"
DOCKER=$docker docker/build.sh "${push[@]}" --base-cpu "$base" --base-gpu "$base" --network none \
    --wheelhouse "$wheels" --torch "$torch" --lock "$work/images.lock.json"
cp "$work/images.lock.json" "$KEEP/"

# ------------------------------------------------------------------ 4. the run
step "the smoke run in them"
CHAINSIGHT_CONTAINERS=$named CHAINSIGHT_IMAGES_LOCK=$work/images.lock.json OMP_NUM_THREADS=1 \
    "$PYTHON" -m pytest -m slow tests/containers ${PYTEST_FLAGS:-}
