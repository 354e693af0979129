"""The pages of the repository as Markdown: their links, headings, tables and blocks of code."""

import re
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]+`")


def pages() -> list[Path]:
    """Every page of the repository; what git ignores is none of ours."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return sorted(path for name in listed.stdout.split("\n") if name and (path := ROOT / name).is_file())
    # An unpacked source distribution has no git.
    folders = ("docs", "grafana", "helm", "benchmarks", "tests")
    return sorted([*ROOT.glob("*.md"), *(page for name in folders for page in (ROOT / name).glob("**/*.md"))])


def links(text: str) -> list[str]:
    """Where the page's links and pictures lead; code is no link."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in one language."""
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def commands_of(text: str) -> Iterator[str]:
    """Each command of a page's blocks: continued lines joined, without comments and the place of installation."""
    for language in ("sh", "bash", ""):
        for block in blocks(text, language):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                if command := re.sub(r"\s+# .*", "", line).strip():
                    yield command.replace("/opt/celery-exporter/bin/", "")


def anchors(text: str) -> set[str]:
    """The names that headings can be linked by, made as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for line in _FENCE.sub("", text).splitlines():
        if heading := re.match(r"#{1,6} (.+)", line):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
            name = "".join(
                c for c in words.lower() if c in "-_ " or unicodedata.category(c)[0] in "LN"
            ).replace(" ", "-")
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Each table as its heading and its rows of cells."""
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        rows = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            for line in block.splitlines()
        ]
        yield rows[0], rows[2:]
