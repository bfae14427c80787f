"""Chainsight teaches vision language models to reason step by step (arXiv 2410.16198)."""

import os

__version__ = "0.1.0"

# trl tells the hub of each training, from a thread; read when huggingface_hub is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
