"""Runs inside an environment that holds dcm-classifier: FOLDER of series folders -> JSON {folder: answer}.

    PYTHON classify_peer.py FOLDER OUTPUT.json

Its own search for series goes through ITK, which passes over objects without pixels; the volumes are therefore made
from the files here, by the same functions of it. A series that it cannot read counts as INVALID, the word that it uses
itself for what it does not classify.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path


def main() -> int:
    warnings.simplefilter("ignore")
    from dcm_classifier.dicom_series import DicomSingleSeries
    from dcm_classifier.image_type_inference import ImageTypeClassifierBase
    from dcm_classifier.study_processing import ProcessOneDicomStudyToVolumesMappingBase

    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    inferer = ImageTypeClassifierBase()
    said: dict[str, str] = {}
    for series in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            # The constructor would search the folder; splitting files into volumes needs nothing of it.
            study = ProcessOneDicomStudyToVolumesMappingBase.__new__(ProcessOneDicomStudyToVolumesMappingBase)
            files = [str(file) for file in sorted(series.glob("*.dcm"))]
            one = DicomSingleSeries(series_number=1)
            for volume in study._identify_and_split_sub_volumes_pydicom(files):
                one.add_volume_to_series(volume)
            inferer.set_series(one)
            inferer.run_inference()
            said[series.name] = one.get_series_modality()
        # What it raises for a header that it does not expect is not documented, and any of it means the same here.
        except Exception as error:  # noqa: BLE001
            print(f"{series.name}: {error}", file=sys.stderr)
            said[series.name] = "INVALID"
    output.write_text(json.dumps(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
