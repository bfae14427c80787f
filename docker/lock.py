"""pyproject.toml, constraints.txt -> docker/requirements: what goes into each image, with hashes.

`make lock` runs it; `docker/lock.py mlflow` makes the lock of one service alone. Each stage's file
holds every package of its image but torch, which has files of its own: the build that the package
index serves (CUDA) is locked in torch-cuda.txt, another one (the CPU build, say) comes with a
wheelhouse (docker/wheelhouse.sh).
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docker" / "requirements"

COMMON = ("pipeline", "tracking-client")
"""Extras of every image: KFP's executor, MLflow's client."""
EXTRAS: dict[str, tuple[str, ...]] = {
    "prepare": ("hub",),
    "distill": ("teacher", "hub"),
    "sft": ("train",),
    "sample": ("model",),
    "pair": (),
    "dpo": ("train",),
    "evaluate": ("model", "serve"),
    "register": ("report", "hub"),
}
"""What a stage imports beyond that: extras of pyproject.toml. Distill's image also runs the doctor,
register's the closing summary, which both ask the hub; evaluate's also serves. As pair needs
nothing, pair.txt is what all images have in common; the Dockerfile makes a shared layer of it."""
SERVICES: dict[str, str] = {"mlflow": "tracking-server"}
"""What runs beside the stages: a service's image holds the extra of this name and nothing of ours,
so its lock is made from the extra alone."""
UNUSED: dict[str, tuple[str, ...]] = {
    "mlflow": (
        *("scikit-learn", "scipy", "skops", "joblib", "narwhals", "threadpoolctl"),
        *("matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing"),
    )
}
"""Requirements that a server never imports: MLflow wants them for its model flavors. A third of the
image; `docker/check_image.py` shows that the server does without."""
TORCH = "torch==2.13.0"
BUILD = "setuptools>=77"
"""What the build of our own wheel needs (pyproject's build-system)."""
ACCELERATOR_PREFIXES = ("cuda-", "nvidia-", "torch", "triton")
"""Packages of torch's CUDA build, which only torch-cuda.txt names."""


def main(names: list[str]) -> int:
    """Write all lock files, or those of the services named; versions that still fit stay."""
    TARGET.mkdir(exist_ok=True)
    for service in names or SERVICES:
        lock_service(service)
    if not names:
        lock_stages()
    return 0


def lock_service(service: str) -> None:
    """The lock of a service: its extra, without what it never imports."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["optional-dependencies"][SERVICES[service]]
    omit = [argument for name in UNUSED[service] for argument in ("--no-emit-package", name)]
    compile_to(f"{service}.txt", ["-", *omit], "\n".join(wanted))


def lock_stages() -> None:
    """The locks of the stages, of the builder and of torch."""
    compile_to("build.txt", ["-"], BUILD)
    compile_to("torch-cuda.txt", ["-"], TORCH)
    left_out = accelerator_packages(TARGET / "torch-cuda.txt")
    omit = [argument for name in left_out for argument in ("--no-emit-package", name)]
    for stage, extras in EXTRAS.items():
        chosen = [argument for extra in (*COMMON, *extras) for argument in ("--extra", extra)]
        compile_to(f"{stage}.txt", ["pyproject.toml", *chosen, *omit])


def accelerator_packages(lock: Path) -> list[str]:
    """Names in a lock that belong to torch's build for an accelerator."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    names = [line.partition("==")[0] for line in lines if "==" in line and line[0].isalpha()]
    return [name for name in names if name.startswith(ACCELERATOR_PREFIXES)]


def compile_to(name: str, sources: list[str], requirement: str = "") -> None:
    """One lock file, for Linux and each Python that the package takes (hence `--universal`)."""
    subprocess.run(  # noqa: S603 - our own arguments
        [
            *("uv", "pip", "compile", *sources, "--constraints", "constraints.txt"),
            *("--generate-hashes", "--universal", "--python-version", "3.11", "--quiet"),
            *("--custom-compile-command", "make lock"),
            *("--output-file", str(TARGET.relative_to(ROOT) / name)),
        ],
        cwd=ROOT,
        input=requirement,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
