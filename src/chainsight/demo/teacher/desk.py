"""What all addresses of the scripted teacher share: how it behaves, who may ask, the bill."""

from chainsight.demo.teacher.behaviour import Behaviour, Limits
from chainsight.demo.teacher.bill import Bill
from chainsight.demo.teacher.limits import Account
from chainsight.demo.teacher.wire import Problem, Request


class Desk:
    """State of one server. `behaviour` may be replaced while it runs."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.bill = Bill(behaviour.bills, behaviour.usd_per_million)
        self._accounts: dict[str, tuple[Limits, Account]] = {}

    def key_of(self, request: Request) -> str:
        """The caller's account: its key where keys have accounts of their own, else "".

        Raises:
            Problem: HTTP 401.
        """
        behaviour, headers = self.behaviour, request.headers
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        key = headers.get("api-key") or bearer  # Azure's header, or OpenAI's
        known = {*behaviour.accounts, *filter(None, [behaviour.required_key])}
        if known and key not in known:
            raise Problem(401, "incorrect API key provided", code="invalid_api_key")
        return key if key in behaviour.accounts else ""

    def account_of(self, key: str) -> Account:
        """The account of what `key_of` gave."""
        limits = self.behaviour.accounts.get(key, self.behaviour.limits)
        known = self._accounts.get(key)
        if known is None or known[0] != limits:
            known = self._accounts[key] = (limits, Account(limits))
        return known[1]
