"""Seeds as a person gives them: 1,2,3."""

from __future__ import annotations

from medk2n_node.errors import UsageError


def read_seeds(text: str) -> list[int]:
    """The numbers of a list with commas.

    Raises:
        UsageError: it is no such list, or a seed stands twice.
    """
    parts = [one.strip() for one in text.split(",")]
    if not all(part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(
            code="seeds", subject="--seeds", reason=f'"{text}" is no list of different whole numbers',
            cure="Give numbers with commas between them, such as 1,2,3",
        )  # fmt: skip
    return [int(part) for part in parts]
