"""Asking by the Batch API: half the price, within a day, and no answer ever billed twice.

A batch goes through five steps, and a run may die between any two of them:

1. it is *cut*: the next open questions, written to a nameless file (`cutting`);
2. it is *announced*: its intent goes to the shelf, put-if-absent, under its run key, the sha256 of
   its request keys and its round (`intents`);
3. its file is uploaded under the run key's name, and the batch is *created* with the run key in
   its metadata (`api`);
4. its id is *recorded* on the shelf;
5. when it has ended, its answers go into the ledger, and then it is *ended* on the shelf.

Questions of a batch that is announced and not ended are never asked again: whoever finds it without
an id looks at the API for the run key, and goes on from where its owner died (`asking`).
"""

from chainsight.teacher.batches.asking import ask
from chainsight.teacher.batches.waiting import refuse_waiting

__all__ = ["ask", "refuse_waiting"]
