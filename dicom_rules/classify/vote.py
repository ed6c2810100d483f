"""The images as a second opinion on the headers: they may object, never decide.

A network that has learned what each contrast looks like votes for each usable series. Where it clearly contradicts
the headers nobody but a person can say who is right, so the series is not used as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dicom_rules import CONTRASTS
from dicom_rules.classify.types import SeriesClass
from dicom_rules.errors import ClassifyError

ON_DISAGREEMENT: tuple[str, ...] = ("hold", "exclude", "ignore")
"""hold: a person decides; exclude: the series is not used; ignore: the images are not asked."""

CLEAR_VOTE, CLEAR_DENIAL = 0.6, 0.05
"""The images object when another contrast has at least the first probability, and that of the headers at most the
second; everything in between is no opinion. A judge is careful by training (its probabilities are those of whole
volumes, not of single slices), so it is the denial that tells."""

T1_FAMILY = frozenset({"T1", "T1C"})
"""Never an objection to each other: whether a T1 was taken after an agent shows only beside the one before it."""


def with_image_votes(
    classes: Sequence[SeriesClass],
    votes: Mapping[str, Mapping[str, float]],
    *,
    on_disagreement: str,
) -> tuple[SeriesClass, ...]:
    """The classes after the vote of the images; same length, same order.

    Args:
        classes: the series of one study.
        votes: by Series Instance UID the probability (0..1) of each contrast; a series that is absent was not
            voted on.
        on_disagreement: "hold" sets `doubt`, so that the plan holds the study; "exclude" makes the series not
            usable (image_disagrees); "ignore" gives the classes back as they are.

    A site's own override (confidence 1.0) is not questioned. Raises ClassifyError for another word, and for
    probabilities that are none.
    """
    if on_disagreement not in ON_DISAGREEMENT:
        raise ClassifyError(
            code="bad_vote_rule",
            subject="classification.on_image_disagreement",
            reason=f'it is "{on_disagreement}"',
            cure=f"Use one of {', '.join(ON_DISAGREEMENT)}",
        )
    if on_disagreement == "ignore":
        return tuple(classes)
    return tuple(
        _weighed(one, votes[one.series_uid], on_disagreement) if one.series_uid in votes else one
        for one in classes
    )


def _weighed(one: SeriesClass, vote: Mapping[str, float], on_disagreement: str) -> SeriesClass:
    _check(one.series_uid, vote)
    if one.contrast is None or not one.usable or one.confidence >= 1.0 or not vote:
        return one
    shares = {name: _share(vote, name) for name in vote}
    agreed = _share(vote, one.contrast)
    seen = max(vote, key=lambda name: (shares[name], vote[name], name))
    if seen in _family(one.contrast):
        return _noting(one, f"The images agree: they look like {seen} ({shares[seen]:.2f}).")
    how_sure = shares[seen]
    if how_sure < CLEAR_VOTE or agreed > CLEAR_DENIAL:
        return _noting(
            one,
            f"The images are no clear second opinion: {seen} {how_sure:.2f}, {one.contrast} {agreed:.2f}.",
        )
    objection = f"The images look like {seen} ({how_sure:.2f}), not like {one.contrast} ({agreed:.2f})"
    if on_disagreement == "exclude":
        return replace(
            _noting(one, f"{objection}: not used."), usable=False, unusable_because="image_disagrees"
        )
    return replace(_noting(one, f"{objection}: a person has to look."), doubt=objection)


def _family(contrast: str) -> frozenset[str]:
    return T1_FAMILY if contrast in T1_FAMILY else frozenset({contrast})


def _share(vote: Mapping[str, float], contrast: str) -> float:
    return min(sum(vote.get(name, 0.0) for name in _family(contrast)), 1.0)


def _check(series_uid: str, vote: Mapping[str, float]) -> None:
    wrong = [name for name, share in vote.items() if name not in CONTRASTS or not 0.0 <= share <= 1.0]
    if wrong:
        raise ClassifyError(
            code="bad_vote",
            subject=f"image vote on series {series_uid}",
            reason=f'"{wrong[0]}" = {vote[wrong[0]]!r} is no probability of one of {", ".join(CONTRASTS)}',
            cure="Report this: the network and the rules do not agree on the contrasts",
        )


def _noting(one: SeriesClass, sentence: str) -> SeriesClass:
    return replace(one, evidence=(*one.evidence, sentence))
