"""From an intent to its one batch, also where the owner of the intent died on the way."""

import asyncio
import logging
from typing import IO

from chainsight.errors import TeacherError
from chainsight.teacher.batches.api import Api, State, UnsureError
from chainsight.teacher.batches.intents import Intent, Intents

log = logging.getLogger(__name__)


class Creator:
    """Creates batches, or finds that they are there."""

    def __init__(self, api: Api, intents: Intents, *, lag_seconds: float, tries: int) -> None:
        self._api, self._intents = api, intents
        self._lag, self._tries = lag_seconds, tries
        self.num_created = 0

    async def create(self, intent: Intent, file: IO[bytes]) -> str | None:
        """The batch of a new intent; None if another run has ended it, taking us for dead.

        Raises:
            TeacherError: it cannot be; the intent is ended, if it is certain that there is none.
        """
        try:
            uploaded = await self._api.upload(file, intent.file_name)
        except TeacherError:
            self._intents.end(intent.run_key, "could not be uploaded")
            raise
        if self._intents.is_off(intent.run_key):
            return self._intents.batch_of(intent.run_key)
        return await self._created(intent, uploaded)

    async def take_over(self, intent: Intent) -> str | None:
        """Go on where the owner of an intent died; None if nothing is at the API: it is ended."""
        with self._intents.cutting():
            if recorded := self._intents.batch_of(intent.run_key):
                return recorded
            if found := await self._found(intent.run_key):
                return await self._recorded(intent, found)
            if uploaded := await self._api.find_file(intent.file_name, intent.num_bytes):
                return await self._created(intent, uploaded)
            self._intents.end(intent.run_key, "nothing was sent")
            return None

    async def _created(self, intent: Intent, uploaded: str) -> str:
        """Create the batch of an uploaded file; whether that was done is looked up, not guessed."""
        for number in range(self._tries):
            try:
                return await self._own(intent, await self._api.create(uploaded, intent.run_key))
            except UnsureError as error:
                log.info("batch %s: %s; looking for it", intent.run_key[:12], error)
            except TeacherError:
                if number == 0:
                    self._intents.end(intent.run_key, "could not be created")
                raise
            await asyncio.sleep(self._lag)
            if found := await self._api.find(intent.run_key):
                return await self._own(intent, found)
        raise TeacherError(
            "the Batch API breaks off each time that a batch is created; try again later"
        )

    async def _found(self, key: str) -> State | None:
        """The batch of a run key; one that was just created shows a little later."""
        found = await self._api.find(key)
        if found is None:
            await asyncio.sleep(self._lag)
            found = await self._api.find(key)
        return found

    async def _own(self, intent: Intent, state: State) -> str:
        self.num_created += 1
        return await self._recorded(intent, state)

    async def _recorded(self, intent: Intent, state: State) -> str:
        """Write down which batch it is; if two were created after all, the first written counts."""
        recorded = self._intents.record(intent.run_key, state.id)
        if recorded != state.id:
            await self._api.cancel(state.id)
        return recorded
