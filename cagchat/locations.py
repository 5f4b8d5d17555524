"""Where cagchat keeps its files on this platform, or all under CAGCHAT_HOME."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
    """Return the folders for this user; CAGCHAT_HOME moves all of them."""
    if home := environ.get("CAGCHAT_HOME"):
        root = Path(home).expanduser().absolute()
        return Locations(root / "config", root / "data", root / "cache")
    from platformdirs import PlatformDirs  # 27 ms

    dirs = PlatformDirs("cagchat", appauthor=False)
    return Locations(Path(dirs.user_config_dir), Path(dirs.user_data_dir), Path(dirs.user_cache_dir))
