"""One frozen tree of settings: each package's own model in its place, read once at the start."""

from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict

from cluster.connect import ClusterSettings
from serve_app.deployment import ApiSettings


class Settings(BaseModel):
    """Everything a deployment is told; `api.actors` is what its actors are told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: ClusterSettings = ClusterSettings()
    api: ApiSettings = ApiSettings()

    @classmethod
    def load(cls, path: Path) -> Self:
        """From YAML; a misspelt or unknown setting is an error."""
        return cls.model_validate(yaml.safe_load(path.read_text()) or {})
