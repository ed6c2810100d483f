"""Was the image reconstructed by a vendor's neural network?

Such images are acquired and stay usable (ImageType says ORIGINAL, and rightly so), but they are named as what they
are, and an untouched twin of the same scan is preferred to them.

Siemens writes Deep Resolve as words of ImageType, in enhanced objects of (0021,1175); GE writes the strength of AIR
Recon DL into (0043,10CA), which is absent when it is off; Philips writes CS_SENSE_AI for SmartSpeed AI. Tags and
words after the public test set dcm_qa_cs_dl and GE's own list of tags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_rules.reading import text, texts

SIEMENS_WORDS = {
    "DRB": "Deep Resolve Boost",
    "DRG": "Deep Resolve Gain",
    "DRS": "Deep Resolve Sharp",
    "DRSB": "Deep Resolve Swift Brain",
}
SIEMENS_IMAGE_TYPE_TEXT = Tag(0x00211175)
GE_RECON_DL = Tag(0x004310CA)
PHILIPS_GROUP = 0x2005
PHILIPS_WORD = "CS_SENSE_AI"

_NAMED = re.compile(
    r"deep.?resolve|air.?recon.?dl|\bdlr\b|\bdl\b|\baice\b|\bpiqe\b|smartspeed.?(ai|precise)|cs.?ai\d*\b|deep.?recon|\bairdl\b",
    re.IGNORECASE,
)


def deep_learning(places: Sequence[Dataset], image_type: Sequence[str], names: Sequence[str]) -> str:
    """The sentence that names the reconstruction, or empty; `places` are the object and its functional groups."""
    words = {*image_type}
    for place in places:
        words.update(word.upper() for word in texts(place, SIEMENS_IMAGE_TYPE_TEXT))
    siemens = [name for word, name in SIEMENS_WORDS.items() if word in words]
    if siemens:
        return f"reconstructed by a network of the vendor: {', '.join(siemens)}"
    for place in places:
        strength = texts(place, GE_RECON_DL)
        if strength and strength[-1].lower() not in ("", "off") and strength[0] not in ("0", "0.0"):
            return f"reconstructed by a network of the vendor: AIR Recon DL, strength {strength[-1]}"
    if any(_says_philips(place) for place in places):
        return f"reconstructed by a network of the vendor: {PHILIPS_WORD}"
    for name in names:
        found = _NAMED.search(name.replace("_", " "))
        if found:
            return f'the name says that a network of the vendor reconstructed it ("{found.group(0)}")'
    return ""


def _says_philips(place: Dataset) -> bool:
    tags = [tag for tag in place.keys() if tag.group == PHILIPS_GROUP]  # noqa: SIM118 (a Dataset iterates elements)
    return any(text(place, tag).upper() == PHILIPS_WORD for tag in tags)
