"""Chainsight teaches vision language models to reason step by step (arXiv 2410.16198)."""

__version__ = "0.1.0"
