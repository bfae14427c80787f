"""pyproject.toml, constraints.txt -> docker/requirements: what goes into each image, with hashes.

`make lock` runs it. Each stage's file holds every package of its image but torch, which has files
of its own: the build that the package index serves (CUDA) is locked in torch-cuda.txt, another
one (the CPU build, say) comes with a wheelhouse (docker/wheelhouse.sh).
"""

import subprocess
import sys
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
TORCH = "torch==2.13.0"
BUILD = "setuptools>=77"
"""What the build of our own wheel needs (pyproject's build-system)."""
ACCELERATOR_PREFIXES = ("cuda-", "nvidia-", "torch", "triton")
"""Packages of torch's CUDA build, which only torch-cuda.txt names."""


def main() -> int:
    """Write all lock files; versions that still fit stay as they are."""
    TARGET.mkdir(exist_ok=True)
    compile_to("build.txt", ["-"], BUILD)
    compile_to("torch-cuda.txt", ["-"], TORCH)
    left_out = accelerator_packages(TARGET / "torch-cuda.txt")
    omit = [argument for name in left_out for argument in ("--no-emit-package", name)]
    for stage, extras in EXTRAS.items():
        chosen = [argument for extra in (*COMMON, *extras) for argument in ("--extra", extra)]
        compile_to(f"{stage}.txt", ["pyproject.toml", *chosen, *omit])
    return 0


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
    sys.exit(main())
