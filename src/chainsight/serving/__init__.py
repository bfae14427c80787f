"""The champion behind an OpenAI-compatible endpoint, for CPUs and tests; GPUs get vLLM.

`find` waits for a registered version and brings its verified files, `model` answers, `worker`
puts waiting requests together, `app` speaks HTTP, `server` is the process. docs/serving.md.
"""
