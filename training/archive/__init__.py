"""From image archives to prepared cases: registered, masked, normalised by the node's own preprocessing.

In: folders of DICOM or NIfTI files. Out: an inventory of what they show, and a folder of prepared cases with frozen
splits. Never: a patient's name, the network, the node's database.
"""

from __future__ import annotations

from training.archive.building import prepare_archive
from training.archive.case import Case, load_case, save_case
from training.archive.inventory import Inventory, Row, read_inventory, write_inventory
from training.archive.opened import Archive, open_archive
from training.archive.prepare import Excluded, Prepared, prepare_folder, prepare_images
from training.archive.pseudonyms import new_salt, salt_of
from training.archive.scan import Place, scan
from training.archive.slices import prepare_slices
from training.archive.splits import SPLITS, Shares, Splits, assign
from training.archive.volumes import read_dicom, read_nifti

__all__ = [
    "SPLITS",
    "Archive",
    "Case",
    "Excluded",
    "Inventory",
    "Place",
    "Prepared",
    "Row",
    "Shares",
    "Splits",
    "assign",
    "load_case",
    "new_salt",
    "open_archive",
    "prepare_archive",
    "prepare_folder",
    "prepare_images",
    "prepare_slices",
    "read_dicom",
    "read_inventory",
    "read_nifti",
    "salt_of",
    "save_case",
    "scan",
    "write_inventory",
]
