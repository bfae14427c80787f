"""`chainsight doctor`: what a run needs, checked before it costs anything.

The same checks stand at the start of every pipeline (`examine_component`).
"""

from chainsight.doctor.check import Check, Cluster
from chainsight.doctor.examination import examine
from chainsight.doctor.show import markdown, show, summary
from chainsight.doctor.task import IN_A_CLUSTER, examine_component

__all__ = [
    "IN_A_CLUSTER",
    "Check",
    "Cluster",
    "examine",
    "examine_component",
    "markdown",
    "show",
    "summary",
]
