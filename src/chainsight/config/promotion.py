"""How a registered version becomes the model in use. It decides no artifact."""

from typing import Annotated

from pydantic import Field

from chainsight.config.platform import Name
from chainsight.config.section import Section


class PromotionSection(Section):
    """Champion, previous, and who serves them."""

    production_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] | None = (
        None
    )
    """Registered model of production, for separation of duties: trainers may edit
    `register.model_name`, promoters alone this one. None: both are one model."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 20.0
    """How often the reconciler looks at the aliases."""
    deployment: Name | None = None
    """Kubernetes Deployment, in the reconciler's namespace, that serves the champion; none: none
    is rolled."""
    rollout_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """How long a rollout may take to be ready before it is rolled back."""
