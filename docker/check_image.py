"""The import test of an image, run in it when it is built: `python check_image.py STAGE`.

Loads the stage and what surrounds it (KFP's executor, the store, MLflow's client), and refuses
what the image must not have. `--list` prints which of `NOTABLE` it has, as JSON.
"""

import importlib
import importlib.util
import json
import os
import shutil
import site
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
COMPILERS = ("cc", "gcc", "g++", "clang", "nvcc", "make")


def faults(stage: str) -> list[str]:
    """What is wrong with the image that this runs in; an import that fails raises."""
    from chainsight.stages import STAGES

    STAGES[stage].load()
    for name in SURROUNDINGS:
        importlib.import_module(name)
    if stage == "register":
        importlib.import_module("chainsight.report.plots")
    if stage == "evaluate":
        importlib.import_module("chainsight.serving.server")
    found = [f"{tool} is in it" for tool in COMPILERS if shutil.which(tool)]
    for name, stages in ONLY_IN.items():
        if (stage in stages) != has(name):
            found.append(f"{name} is {'missing' if stage in stages else 'in it'}")
    if os.geteuid() != UID:
        found.append(f"it runs as uid {os.geteuid()}, not {UID}")
    found += [
        f"{path} can be written" for path in site.getsitepackages() if os.access(path, os.W_OK)
    ]
    return found


def has(name: str) -> bool:
    """Whether a package is installed; nothing is imported."""
    return importlib.util.find_spec(name) is not None


def main(stage: str) -> int:
    """Print the faults; 1 if there are any."""
    if stage == "--list":
        print(json.dumps({name: has(name) for name in NOTABLE}))
        return 0
    found = faults(stage)
    for fault in found:
        print(f"image of {stage}: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
