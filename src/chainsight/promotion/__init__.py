"""From a version that passed the gate to the model in use: promote, roll back, reconcile.

place = open_place(load_config("my.yaml"))
promote(place, version=3, why="...")
Reconciler(place).look()
"""

from chainsight.promotion.entry import Entry
from chainsight.promotion.log import Log, Snapshot
from chainsight.promotion.place import Place, author, open_place
from chainsight.promotion.promoting import Outcome, promote, rollback
from chainsight.promotion.reconcile import Reconciler

__all__ = [
    "Entry",
    "Log",
    "Outcome",
    "Place",
    "Reconciler",
    "Snapshot",
    "author",
    "open_place",
    "promote",
    "rollback",
]
