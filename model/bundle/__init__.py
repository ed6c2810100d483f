"""A bundle: weights, architecture, preprocessing, key scores, provenance and card in one folder, sealed by sha256.

In: a folder. Out: a `Bundle` whose network is ready, or a `BundleError` that names what does not fit. Never: a
download, a partial load, a default for a missing key.
"""

from __future__ import annotations

from model.bundle.export import export_bundle, read_pattern
from model.bundle.files import (
    Bundle,
    BundleFacts,
    default_folder,
    load_bundle,
    restate_bundle,
    save_bundle,
    verify_bundle,
)
from model.bundle.seal import copy_sealed, read_stated, stated_digest
from model.bundle.trial import open_and_try

__all__ = [
    "Bundle",
    "BundleFacts",
    "copy_sealed",
    "default_folder",
    "export_bundle",
    "load_bundle",
    "open_and_try",
    "read_pattern",
    "read_stated",
    "restate_bundle",
    "save_bundle",
    "stated_digest",
    "verify_bundle",
]
