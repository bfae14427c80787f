"""The pipelines: the same components, wired for what people run."""
