# The image of `sample` with vLLM beside it, for `sample.engine: vllm`. Nobody has built it here.
#
#   docker build -f docker/vllm.Dockerfile --build-arg SAMPLE=REGISTRY/chainsight-sample@sha256:... .
#
# vLLM pins other versions of torch and transformers than ours, so it has an environment of its own
# in /opt/vllm, which `vlm/vllm_worker.py` runs in; and a compiler, for Triton builds kernels when it
# runs. Its packages are not locked with ours: give VLLM a requirement with hashes for builds that
# can be repeated.
ARG SAMPLE=chainsight-sample
ARG BASE_GPU=nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ${BASE_GPU} AS vllm
ARG VLLM=vllm==0.33.0
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv \
    && python3 -m venv /opt/vllm && /opt/vllm/bin/pip install --no-cache-dir "${VLLM}"

FROM ${SAMPLE}
USER root
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=vllm /opt/vllm /opt/vllm
USER 10001
