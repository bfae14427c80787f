"""What a model was made from: the artifacts behind it, read off their manifests' inputs."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chainsight.store import Manifest


@dataclass(frozen=True)
class Provenance:
    """Every artifact behind a model, by kind, with its store URI."""

    uris: Mapping[str, str]
    manifests: Mapping[str, Manifest]

    def metric(self, kind: str, name: str) -> float | None:
        """A figure of the stage that wrote `kind`; None if there is no such artifact or figure."""
        found = self.manifests.get(kind)
        return None if found is None else found.metrics.get(name)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The resolved section of each stage, by the stage's name; of several rounds the last."""
        nearest = reversed(list(self.manifests.values()))
        return {m.stage: m.config.get("config", {}) for m in nearest}

    @cached_property
    def model(self) -> dict[str, Any]:
        """The section `model` that the model was trained with, and the base's digest."""
        for kind in ("aligned", "policy"):
            if kind in self.manifests:
                found: dict[str, Any] = self.manifests[kind].config.get("model", {})
                return found
        return {}

    @property
    def base(self) -> str:
        """The base model and its revision; "" if no manifest says."""
        name, revision = self.model.get("base", ""), self.model.get("revision")
        return f"{name}@{revision}" if revision else str(name)

    @property
    def teacher(self) -> str:
        """The teacher's name at its endpoint, or `published`; "" if no manifest says."""
        distill = self.settings.get("distill", {})
        published = distill.get("teacher") == "published"
        return "published" if published else str(distill.get("teacher_model", ""))

    @property
    def teacher_cost_usd(self) -> float | None:
        return self.metric("rationales", "cost_usd")

    @cached_property
    def sources(self) -> dict[str, dict[str, str]]:
        """Which data exactly: of `examples` and `benchmarks` the fingerprint of each source."""
        return {
            kind: self.manifests[kind].config.get("sources", {}).get(kind, {})
            for kind in ("examples", "benchmarks")
            if kind in self.manifests
        }

    @property
    def code_version(self) -> str:
        return ", ".join(sorted({m.code_version for m in self.manifests.values()}))

    @property
    def config_digest(self) -> str:
        """sha256 over the resolved settings of all stages, and of what they share."""
        configs = {m.stage: m.config for m in self.manifests.values()}
        return hashlib.sha256(json.dumps(configs, sort_keys=True).encode()).hexdigest()

    @property
    def images(self) -> dict[str, str]:
        """The container image of each stage that ran in one."""
        found = {m.stage: m.image for m in self.manifests.values() if m.image}
        return dict(sorted(found.items()))

    def tags(self) -> dict[str, str]:
        """The lineage as tags of a registered version."""
        cost = self.teacher_cost_usd
        known = {
            **{f"{kind}_uri": uri for kind, uri in self.uris.items()},
            **{
                f"{kind}_digest": self.manifests[kind].content_digest
                for kind in ("examples", "benchmarks")
                if kind in self.manifests
            },
            **{
                f"{kind}_sources": json.dumps(sources, sort_keys=True)
                for kind, sources in self.sources.items()
                if sources
            },
            **{f"image.{stage}": image for stage, image in self.images.items()},
            "config_digest": self.config_digest,
            "code_version": self.code_version,
            "base_model": self.base,
            "base_digest": str(self.model.get("digest", "")),
            "teacher": self.teacher,
            "teacher_cost_usd": "" if cost is None else repr(cost),
        }
        return {f"chainsight.{name}": value for name, value in known.items() if value}


def trace(inputs: Mapping[str, str], manifest: Callable[[str], Manifest]) -> Provenance:
    """Follow `inputs`, store URIs by kind, back to the data. `manifest` reads one (`Store.load`).

    Of several artifacts of one kind the nearest counts. Where the policy is an aligned model of an
    earlier round, `first_policy` is the one that SFT made.
    """
    found = dict(_walk(inputs, manifest))
    return Provenance(
        {kind: uri for kind, (uri, _) in found.items()},
        {kind: read for kind, (_, read) in found.items()},
    )


def _walk(
    inputs: Mapping[str, str], manifest: Callable[[str], Manifest]
) -> Iterator[tuple[str, tuple[str, Manifest]]]:
    seen: set[str] = set()
    todo = dict(inputs)
    while todo:
        kind = next(iter(todo))  # in order: breadth first
        uri = todo.pop(kind)
        seen.add(kind)
        read = manifest(uri)
        yield kind, (uri, read)
        behind = {_name(k, behind=kind): u for k, u in read.inputs.items()}
        todo |= {k: u for k, u in behind.items() if k == FIRST or (k not in seen | set(todo))}


FIRST = "first_policy"


def _name(kind: str, *, behind: str) -> str:
    return FIRST if kind == "policy" and behind in ("policy", FIRST) else kind


# --- settings ----------------------------------------------------------------------------------

UNSET = "(not set)"


@dataclass(frozen=True)
class Setting:
    """A setting along the lineage that differs, `dpo.config.beta`."""

    name: str
    before: Any
    after: Any


def settings_behind(uris: Iterable[str], manifest: Callable[[str], Manifest]) -> dict[str, Any]:
    """Every setting of every stage behind some artifacts, by dotted name; of several rounds those
    of the last."""
    found: dict[str, Any] = {}
    for read in lineage(uris, manifest):
        found = settings_of(read) | found
    return found


def lineage(uris: Iterable[str], manifest: Callable[[str], Manifest]) -> Iterator[Manifest]:
    """Some artifacts and all that is behind them, of every round, the nearest first."""
    todo = list(dict.fromkeys(uris))
    for uri in todo:
        read = manifest(uri)
        yield read
        todo += [one for one in dict.fromkeys(read.inputs.values()) if one not in todo]


def settings_of(manifest: Manifest) -> dict[str, Any]:
    """Every setting of the stage that wrote an artifact, by dotted name."""
    version = {f"{manifest.stage}.code_version": manifest.code_version}
    return _flat(manifest.config, f"{manifest.stage}.") | version


def _flat(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def settings_that_differ(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[Setting, ...]:
    """What is not the same, in the order of the names."""
    return tuple(
        Setting(name, before.get(name, UNSET), after.get(name, UNSET))
        for name in sorted({*before, *after})
        if before.get(name, UNSET) != after.get(name, UNSET)
    )
