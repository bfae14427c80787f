"""The paper's tables from our own runs: `chainsight report --paper`.

`published` has the paper's figures, `settings` what of ours each row is, `layout` the tables with
both, `page` and `show` how they look. Ours stand beside the paper's figure only where the benchmark
is the same one; all others have tables of their own, in the same layout.
"""
