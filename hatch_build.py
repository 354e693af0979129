"""The description on the package index: README.md with links that lead to the repository at this version."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?\[[^\]\n]*\]\()(?![a-z]+:|#)([^)\s]+\))")


class Description(MetadataHookInterface):
    """A hook of hatchling's, which finds it here by its own default."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme; links within the page, and to other sites, stay as they are."""
        at_version = f"{metadata['urls']['Repository']}/{{kind}}/v{metadata['version']}/"

        def absolute(link: re.Match[str]) -> str:
            kind = "raw" if link[1].startswith("!") else "blob"
            return link[1] + at_version.format(kind=kind) + link[2]

        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": _LINK.sub(absolute, text)}
