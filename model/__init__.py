"""Med-K2N: any set of MR contrasts to any other, as arrays. Knows no DICOM, no files but bundles, no network.

In: images in patient space by contrast. Out: synthetic volumes on the reference's grid with scale, uncertainty,
quality, contributions, and the sentences that explain them.
"""

from __future__ import annotations

from model.bundle import Bundle, load_bundle, save_bundle, verify_bundle
from model.contrasts import CONTRASTS
from model.errors import BundleError, ImagingError, ModelError, RequestError
from model.imaging import Image
from model.synthesis import Outputs, synthesize
from model.torchvision_hook import install_torchvision_hook
from model.verdict import TargetResult

__all__ = [
    "CONTRASTS",
    "Bundle",
    "BundleError",
    "Image",
    "ImagingError",
    "ModelError",
    "Outputs",
    "RequestError",
    "TargetResult",
    "load_bundle",
    "save_bundle",
    "synthesize",
    "verify_bundle",
]

install_torchvision_hook()
