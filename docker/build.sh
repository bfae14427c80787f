#!/usr/bin/env bash
# Build the images of all stages and services, tag them by content, write images.lock.json, keep the budget.
#
#   docker/build.sh [--push] [--prefix REGISTRY/PATH/] [--wheelhouse FOLDER]
#                   [--torch cuda|wheelhouse] [--base-cpu IMAGE] [--base-gpu IMAGE]
#                   [--platform OS/ARCH] [--lock FILE] [--sbom FOLDER] [--network none]
#                   [--pip-conf FILE]
#
# The tag is <version>-<12 hex digits>: a digest of everything the builds read. Images are pushed
# only with --push, and only then does the lock file hold name@digest: `chainsight compile` takes
# nothing else. DOCKER names the client (docker). docs/images.md explains the rest.
set -euo pipefail
cd "$(dirname "$0")/.."

docker=${DOCKER:-docker}
push= prefix= wheelhouse= torch=cuda platform= lock=images.lock.json sbom= network= pip_conf=
base_cpu=$(sed -n 's/^ARG BASE_CPU=//p' docker/Dockerfile)
base_gpu=$(sed -n 's/^ARG BASE_GPU=//p' docker/Dockerfile)
while [ $# -gt 0 ]; do
    case $1 in
        --push) push=1; shift ;;
        --prefix | --wheelhouse | --torch | --platform | --lock | --sbom | --network | --pip-conf | \
            --base-cpu | --base-gpu)
            [ $# -ge 2 ] || { echo "$1 wants a value" >&2; exit 2; }
            name=${1#--}; printf -v "${name//-/_}" '%s' "$2"; shift 2 ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
export DOCKER_BUILDKIT=1
stages="prepare distill pair register sft sample dpo evaluate"
services="mlflow"

has_buildx() { "$docker" buildx version > /dev/null 2>&1; }
id_of() { "$docker" image inspect --format '{{.Id}}' "$1"; }

for base in "$base_cpu" "$base_gpu"; do
    id_of "$base" > /dev/null 2>&1 || "$docker" pull ${platform:+--platform "$platform"} "$base"
done
base_ids=("$(id_of "$base_cpu")" "$(id_of "$base_gpu")")

# ------------------------------------------------------------------ the tag: what the builds read
read_files() {
    find docker/Dockerfile docker/requirements docker/steps docker/check_image.py pyproject.toml \
        README.md LICENSE src components pipelines -type f -not -path '*/__pycache__/*' \
        -not -path '*.egg-info/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    printf '%s\n' "${base_ids[@]}" "$torch"
    [ "$torch" = cuda ] || cat "$wheelhouse/torch.txt"
}
version=$(sed -nE 's/^__version__ = "(.*)"/\1/p' src/chainsight/__init__.py)
tag=$version-$(read_files | sha256sum | cut -c1-12)

# ------------------------------------------------------------------ the arguments of every build
arguments=(
    --file docker/Dockerfile
    --build-arg "BASE_CPU=$base_cpu" --build-arg "BASE_GPU=$base_gpu" --build-arg "TORCH=$torch"
    --label "org.opencontainers.image.version=$tag"
    --label "org.opencontainers.image.revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)"
)
[ -z "$platform" ] || arguments+=(--platform "$platform")
[ -z "$pip_conf" ] || arguments+=(--secret "id=pip.conf,src=$pip_conf")
[ -z "$network" ] || arguments+=(--network "$network")
if has_buildx; then arguments+=(--load --provenance=false); fi
if [ -n "$wheelhouse" ]; then # an image, for engines that know no named contexts
    tar -C "$wheelhouse" -c . | "$docker" import - chainsight-wheelhouse:local > /dev/null
    arguments+=(--build-arg WHEELHOUSE=chainsight-wheelhouse:local)
fi

names=()
for target in $stages $services; do
    name=${prefix}chainsight-$target:$tag
    echo "building $name"
    "$docker" build --quiet "${arguments[@]}" --target "$target" --tag "$name" . > /dev/null
    [ -z "$push" ] || "$docker" push --quiet "$name" > /dev/null
    names+=("$name")
done

# ------------------------------------------------------------------ what is in them
# syft sees all of an image; without it cyclonedx-py lists the Python packages, from inside.
tool=$(python3 -c 'import cyclonedx_py, os; print(os.path.dirname(cyclonedx_py.__path__[0]))' \
    2> /dev/null || true)
bill_of() {
    if command -v syft > /dev/null; then
        syft scan --quiet "docker:$1" --output cyclonedx-json
    else
        "$docker" run --rm --network none --read-only --tmpfs /tmp -v "$tool:/tool:ro" "$1" \
            python -c 'import runpy, sys; sys.path.append("/tool"); runpy.run_module("cyclonedx_py", run_name="__main__")' \
            environment --output-reproducible --no-validate /opt/chainsight/bin/python
    fi
}
if [ -n "$sbom" ]; then
    command -v syft > /dev/null || [ -n "$tool" ] || {
        echo "--sbom wants syft, or the Python package cyclonedx-bom" >&2
        exit 2
    }
    mkdir -p "$sbom"
    for name in "${names[@]}"; do
        target=${name##*chainsight-}
        bill_of "$name" > "$sbom/${target%%:*}.cdx.json"
    done
fi
"$docker" image inspect "${names[@]}" "$base_cpu" "$base_gpu" \
    | python3 docker/record.py "$lock" --tag "$tag" --torch "$torch" --bases "${base_ids[@]}"
