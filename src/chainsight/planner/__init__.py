"""What a run will need of its GPUs, from configurations alone: neither torch nor weights."""
