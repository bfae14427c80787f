"""The import test of an image, run in it when it is built: `python check_image.py STAGE|SERVICE`.

Loads the stage and what surrounds it (KFP's executor, the store, MLflow's client), and refuses
what the image must not have. Of a service it imports what the server loads. `--list` prints which
of `NOTABLE` an image has, as JSON.
"""

import importlib
import importlib.util
import json
import os
import shutil
import site
import subprocess
import sys

CPU_STAGES = ("prepare", "distill", "pair", "register")
GPU_STAGES = ("sft", "sample", "dpo", "evaluate")
TRAINING = ("sft", "dpo")
UID = 10001

ONLY_IN: dict[str, tuple[str, ...]] = {
    "torch": GPU_STAGES,
    "transformers": GPU_STAGES,
    "trl": TRAINING,
    "peft": TRAINING,
    "accelerate": TRAINING,
    "datasets": TRAINING,
    "openai": ("distill",),
    "huggingface_hub": ("prepare", "distill", "register", *GPU_STAGES),
    "matplotlib": ("register",),
    "pip": (),
    "flask": (),
    "sklearn": (),
    "vllm": (),
}
"""Packages by the images that may have them; `datasets` is what trl needs."""
NOTABLE = ("boto3", "kfp", "kubernetes", "mlflow", "PIL", "pyarrow", "sqlalchemy", *ONLY_IN)
SURROUNDINGS = (
    "chainsight.cli",
    "chainsight.runner",
    "chainsight.runs",
    "chainsight.store.s3",
    "kfp.dsl.executor_main",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
)
SERVICES: dict[str, tuple[str, ...]] = {
    "mlflow": (
        "boto3",
        "mlflow.server.auth",
        "mlflow.server.fastapi_app",
        "mlflow.store.artifact.s3_artifact_repo",
        "mlflow.store.tracking.sqlalchemy_store",
        "prometheus_flask_exporter.multiprocess",
        "psycopg2",
    )
}
"""What runs beside the stages, and what each imports when it serves."""
SERVICE_LACKS = ("chainsight", "kfp", "torch", "transformers", "openai", "pip", "sklearn", "scipy")
COMPILERS = ("cc", "gcc", "g++", "clang", "nvcc", "make")


def faults(target: str) -> list[str]:
    """What is wrong with the image that this runs in; an import that fails raises."""
    found = of_service(target) if target in SERVICES else of_stage(target)
    found += [f"{tool} is in it" for tool in COMPILERS if shutil.which(tool)]
    if os.geteuid() != UID:
        found.append(f"it runs as uid {os.geteuid()}, not {UID}")
    found += [
        f"{path} can be written" for path in site.getsitepackages() if os.access(path, os.W_OK)
    ]
    return found


def of_stage(stage: str) -> list[str]:
    """Load a stage and what surrounds it; packages that are missing, or that others have."""
    from chainsight.stages import STAGES

    STAGES[stage].load()
    for name in SURROUNDINGS:
        importlib.import_module(name)
    if stage == "register":
        importlib.import_module("chainsight.report.plots")
    if stage == "evaluate":
        importlib.import_module("chainsight.serving.server")
    found = []
    for name, stages in ONLY_IN.items():
        if (stage in stages) != has(name):
            found.append(f"{name} is {'missing' if stage in stages else 'in it'}")
    return found


def of_service(service: str) -> list[str]:
    """Import what a service loads and ask its command for help; packages of others."""
    for name in SERVICES[service]:
        importlib.import_module(name)
    command = [sys.executable, "-m", service, "server", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    return [f"{name} is in it" for name in SERVICE_LACKS if has(name)]


def has(name: str) -> bool:
    """Whether a package is installed; nothing is imported."""
    return importlib.util.find_spec(name) is not None


def main(target: str) -> int:
    """Print the faults; 1 if there are any."""
    if target == "--list":
        print(json.dumps({name: has(name) for name in NOTABLE}))
        return 0
    found = faults(target)
    for fault in found:
        print(f"image of {target}: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
