"""The teacher: asking it, paying it, and never paying twice (owns the openai import)."""
