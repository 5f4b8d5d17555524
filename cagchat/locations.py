"""Where cagchat keeps its files on this platform, or all under CAGCHAT_HOME."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cagchat.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Locations:
    """The folders cagchat writes to: `config` is the user's, `data` holds states and chats, `cache` can be deleted."""

    config: Path
    data: Path
    cache: Path

    @property
    def config_file(self) -> Path:
        """The user's TOML configuration."""
        return self.config / "config.toml"

    @property
    def catalogue_file(self) -> Path:
        """The user's own models: what they add to the catalogue and override in it."""
        return self.config / "models.toml"

    @property
    def states(self) -> Path:
        """One folder per saved state."""
        return self.data / "states"

    @property
    def sessions_db(self) -> Path:
        """The chats: one SQLite database."""
        return self.data / "sessions.sqlite"

    @property
    def models(self) -> Path:
        """GGUF files that cagchat fetched or wrote."""
        return self.data / "models"

    @property
    def logs(self) -> Path:
        """The last engine logs."""
        return self.cache / "logs"


def locate(environ: Mapping[str, str] = os.environ) -> Locations:
    """Return the folders for this user; CAGCHAT_HOME moves all of them.

    Raises `ConfigError` when CAGCHAT_HOME begins with the home folder of a user who does not exist.
    """
    if home := environ.get("CAGCHAT_HOME"):
        try:
            root = Path(home).expanduser().absolute()
        except RuntimeError as error:
            raise ConfigError(
                f"CAGCHAT_HOME is {home}, and there is no such home folder.", "Set it to a whole path."
            ) from error
        return Locations(root / "config", root / "data", root / "cache")
    from platformdirs import PlatformDirs  # 27 ms

    dirs = PlatformDirs("cagchat", appauthor=False)
    return Locations(Path(dirs.user_config_dir), Path(dirs.user_data_dir), Path(dirs.user_cache_dir))
