"""Whether claims can be judged at all: asked before anything runs, not after an hour of it."""

from collections.abc import Mapping

from chainsight.analysis import voting
from chainsight.config import RunConfig
from chainsight.config.ablate import AblateConfig, ClaimSection, Side
from chainsight.errors import ConfigError
from chainsight.scoring import ALL


def check(config: AblateConfig, runs: Mapping[str, RunConfig]) -> None:
    """Refuse a claim that no result could decide.

    Args:
        config: with the claims.
        runs: the complete configuration of each setting, by its name.

    Raises:
        ConfigError: names the claim, what is wrong with it and the way out.
    """
    for claim in config.claims:
        for which, side in (("better", claim.better), ("than", claim.than)):
            where = f"claim {claim.name!r}, {which}"
            _check_dataset(where, claim, runs[side.setting])
            _check_choice(where, side, side.mode or claim.mode, config, runs[side.setting])
        if _same(claim):
            raise ConfigError(f"claim {claim.name!r}: both sides are the same; change one of them")


def _check_dataset(where: str, claim: ClaimSection, run: RunConfig) -> None:
    known = [ALL, *dict.fromkeys(source.name for source in run.prepare.benchmarks)]
    if claim.dataset not in known:
        raise ConfigError(
            f"{where}: no benchmark of dataset {claim.dataset!r}; write one of {', '.join(known)}"
        )


def _check_choice(where: str, side: Side, mode: str, config: AblateConfig, run: RunConfig) -> None:
    """How one answer is chosen from many: only where many were drawn, reasoned, and so many."""
    if side.method is None:
        if side.n is not None:
            raise ConfigError(f"{where}: n = {side.n} needs a method, as majority or weighted")
        return
    if side.method not in voting.METHODS:
        known = ", ".join(voting.METHODS)
        raise ConfigError(f"{where}: no method {side.method!r}; there are {known}")
    if not config.rows()[side.setting].verify:
        raise ConfigError(
            f"{where}: method {side.method} chooses among many answers, and none are drawn for "
            f"{side.setting!r}; give that setting verify: true"
        )
    if mode == "direct":
        raise ConfigError(f"{where}: method {side.method} is for reasoned answers; drop mode")
    most = run.verify.num_candidates
    if side.n is not None and side.n > most:
        raise ConfigError(
            f"{where}: n = {side.n}, but {most} answers are drawn; raise verify.num_candidates"
        )


def _same(claim: ClaimSection) -> bool:
    one, other = (
        side.model_copy(update={"mode": side.mode or claim.mode})
        for side in (claim.better, claim.than)
    )
    return one == other
