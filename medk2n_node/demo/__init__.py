"""The demonstration: a node and a small PACS on this machine, a study sent between them over DICOM.

In: nothing (a phantom head is computed) or a folder with a study. Out: what came back, checked, with a picture.
Never talks to another machine, and leaves no process behind. Import the modules you need: `phantom` and `study`
(volumes as a DICOM study), `validator` (dciodvfy), `pacs`, `run`; this file stays empty so that none is paid for
in vain.
"""

from __future__ import annotations
