"""Two runs side by side: `chainsight report --compare A B`.

`sides` reads one of them, `matching` says which questions both answered, `comparison` what came of
it, `page` and `show` how it looks.
"""
