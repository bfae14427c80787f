"""What is measured of a rationale beyond its answer, and what may be asked of it."""
