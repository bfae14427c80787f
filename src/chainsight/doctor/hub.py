"""The hub of models and datasets: is a repository there, and may it be read? No download."""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chainsight.datasets import sources
from chainsight.doctor.check import Check, Where, fail, ok, wanting, warn
from chainsight.errors import CheckpointError
from chainsight.vlm import files

TIMEOUT_SECONDS = 10.0
OFFLINE = "give a local folder, or run the doctor where the hub can be reached"
ACCESS = (
    "accept its licence on its page and set HF_TOKEN to a token that may read it, or give a "
    "local folder"
)


def model(base: str, revision: str | None, where: Where) -> Check:
    """A model's list of files, and the head of one: a gated model shows its list to everybody."""

    def look(api: Any) -> Check:
        import huggingface_hub

        found = api.model_info(base, revision=revision, timeout=TIMEOUT_SECONDS)
        if not any(one.rfilename.endswith(".safetensors") for one in found.siblings or ()):
            return fail(
                "model",
                f"{base} has no .safetensors file at {revision or 'main'}",
                "choose a model with safe weights; others are refused",
            )
        url = huggingface_hub.hf_hub_url(
            base, "config.json", revision=revision, endpoint=_endpoint()
        )
        huggingface_hub.get_hf_file_metadata(url, timeout=TIMEOUT_SECONDS, endpoint=_endpoint())
        return ok("model", f"{base} at {revision or 'main'}: there, and may be read")

    return _asked("model", base, revision, where, look)


def config(base: str, revision: str | None) -> dict[str, Any]:
    """A model's config.json, kept nowhere; {} if it cannot be had."""
    if importlib.util.find_spec("huggingface_hub") is None:
        return {}
    import huggingface_hub
    from huggingface_hub import errors

    cached = huggingface_hub.try_to_load_from_cache(base, "config.json", revision=revision)
    if isinstance(cached, str):
        return files.read_json(Path(cached))
    try:
        with tempfile.TemporaryDirectory() as folder:
            got = huggingface_hub.hf_hub_download(
                base,
                "config.json",
                revision=revision,
                cache_dir=folder,
                endpoint=_endpoint(),
                etag_timeout=TIMEOUT_SECONDS,
            )
            return files.read_json(Path(got))
    except (OSError, CheckpointError, errors.HTTPError, errors.HFValidationError):  # type: ignore[attr-defined]
        return {}


def dataset(
    what: str, hub_id: str, wanted: Sequence[str], revision: str | None, where: Where
) -> Check:
    """A dataset's list of files: one of the split must be there."""

    def look(api: Any) -> Check:
        found = api.dataset_info(hub_id, revision=revision, timeout=TIMEOUT_SECONDS)
        names = sorted(one.rfilename for one in found.siblings or ())
        if not sources.matching(names, wanted):
            listed = ", ".join(names[:6]) or "no files at all"
            return fail(
                "dataset",
                f"{what}: {hub_id} has no {wanted[0]}; found: {listed}",
                "choose another split or revision, or name a folder of its files as source",
            )
        return ok("dataset", f"{what}: {hub_id} at {(revision or 'main')[:12]}")

    return _asked("dataset", hub_id, revision, where, look, f"{what}: ")


def _asked(
    what: str,
    name: str,
    revision: str | None,
    where: Where,
    look: Callable[[Any], Check],
    prefix: str = "",
) -> Check:
    """What `look` finds, or what the hub says against it; `prefix` stands before the name."""
    shown = f"{prefix}{name}"
    if importlib.util.find_spec("huggingface_hub") is None:
        return warn(
            what,
            f"{shown}: not looked up, huggingface_hub is not installed here",
            "install chainsight[train], or give a local folder",
        )
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return look(huggingface_hub.HfApi(endpoint=_endpoint()))
    except errors.GatedRepoError:  # a kind of the next but one
        return fail(what, f"{shown} is gated, and this token may not read it", ACCESS)
    except (errors.RevisionNotFoundError, errors.HFValidationError) as error:
        return fail(what, f"{shown}@{revision}: {_reason(error)}", "correct the name or revision")
    except errors.RepositoryNotFoundError:
        found = f"{shown}: there is none of that name, or it is private"
        return fail(what, found, f"correct the name; if it is private, {ACCESS}")
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]
        return _unreachable(what, shown, name, revision, where, error)


def _unreachable(
    what: str, shown: str, name: str, revision: str | None, where: Where, error: Exception
) -> Check:
    import huggingface_hub

    if what == "model":
        cached = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision)
        if isinstance(cached, str):
            return ok(what, f"{shown}: in the local cache {Path(cached).parent}")
    found = f"{shown}: the hub cannot be asked ({_reason(error)})"
    return Check(what, wanting(where), found, OFFLINE)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None
