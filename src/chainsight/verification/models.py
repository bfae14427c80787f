"""Which two models a verification compares: the run's own, or a version and what it came from."""

from collections.abc import Mapping

from chainsight import versions
from chainsight.config import RunConfig
from chainsight.errors import ConfigError
from chainsight.store import Store
from chainsight.tracking import Registry, Version

PREFIX = "models:/"


def of_version(
    reference: str, config: RunConfig, store: Store, given: Mapping[str, str]
) -> tuple[Version, dict[str, str]]:
    """The version that `reference` means, and the store URIs of it and of its policy.

    Args:
        reference: `models:/NAME@ALIAS`, `models:/NAME/3`, or the same without `models:/`.
        config: says where the registry is.
        store: where the models are.
        given: store URIs or manifests by kind; a `policy` among them stands for the version's own.

    Raises:
        ConfigError: an aligned model is given beside the version, or its policy is not known.
        TrackingError, RecordError, CheckpointError: there is no such version, or not whole.
    """
    if "aligned" in given:
        raise ConfigError("--model names the aligned model already; leave --aligned out")
    registry = Registry(config.run.mlflow_uri())
    version = registry.resolve(PREFIX + reference.removeprefix(PREFIX))
    aligned = versions.artifact(version)
    manifest = store.load(aligned)
    versions.require_content(version, manifest)
    policy = given.get("policy") or manifest.inputs.get("policy")
    if policy is None:
        raise ConfigError(
            f"{version.uri} does not say which policy it was trained from: stage "
            f"{manifest.stage!r} wrote {aligned} without one. Give it by --policy"
        )
    return version, {**given, "aligned": aligned, "policy": policy}
