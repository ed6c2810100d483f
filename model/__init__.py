"""Med-K2N: any set of MR contrasts to any other, as arrays. Knows no DICOM, no files but bundles, no network.

In: images in patient space by contrast. Out: synthetic volumes on the reference's grid with scale, uncertainty,
quality, contributions, and the sentences that explain them.
"""

from __future__ import annotations

from model.contrasts import CONTRASTS
from model.errors import BundleError, ImagingError, ModelError, RequestError
from model.imaging import Image

__all__ = ["CONTRASTS", "BundleError", "Image", "ImagingError", "ModelError", "RequestError"]
