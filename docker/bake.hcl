# docker buildx bake -f docker/bake.hcl [--push] [cpu|gpu|service|STAGE]
#
# All images at once, with shared layers built once. docker/build.sh does the same one by one on any
# engine, and tags by content, checks sizes and writes images.lock.json besides.
# A wheelhouse: --set '*.contexts.wheelhouse=FOLDER'.

variable "PREFIX" { default = "" }
variable "TAG" { default = "dev" }
variable "REVISION" { default = "unknown" }
variable "BASE_CPU" { default = "python:3.11-slim-bookworm" }
variable "BASE_GPU" { default = "nvidia/cuda:13.0.1-base-ubuntu24.04" }
variable "TORCH" { default = "cuda" }

group "default" { targets = ["cpu", "gpu", "service"] }

target "cpu" {
  name = cpu_stage
  matrix = { cpu_stage = ["prepare", "distill", "pair", "register"] }
  inherits = ["_all"]
  target = cpu_stage
  tags = ["${PREFIX}chainsight-${cpu_stage}:${TAG}"]
}

target "gpu" {
  name = gpu_stage
  matrix = { gpu_stage = ["sft", "sample", "dpo", "evaluate"] }
  inherits = ["_all"]
  target = gpu_stage
  tags = ["${PREFIX}chainsight-${gpu_stage}:${TAG}"]
}

target "service" {
  name = service
  matrix = { service = ["mlflow"] }
  inherits = ["_all"]
  target = service
  tags = ["${PREFIX}chainsight-${service}:${TAG}"]
}

target "_all" {
  context = "."
  dockerfile = "docker/Dockerfile"
  args = {
    BASE_CPU = BASE_CPU
    BASE_GPU = BASE_GPU
    TORCH = TORCH
  }
  labels = {
    "org.opencontainers.image.version" = TAG
    "org.opencontainers.image.revision" = REVISION
  }
}
