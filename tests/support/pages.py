"""What the documents tell a reader to type."""

import re


def blocks(text: str) -> list[str]:
    """Indented code, without its indentation and with continued lines joined."""
    found = re.findall(r"(?:^ {4,}\S.*\n|^\n(?= {4,}\S))+", text, re.MULTILINE)
    lines = []
    for block in found:
        indent = min(len(line) - len(line.lstrip()) for line in block.splitlines() if line)
        lines.append("\n".join(line[indent:] for line in block.splitlines()).strip().replace("\\\n", " "))
    return lines


def commands(text: str) -> list[str]:
    return [line.strip() for block in blocks(text) for line in block.splitlines() if line.strip()]
