"""A spine sent as several series on several associations comes out as one study with one result, delivered once."""

from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from builders.service import Collector, running_service, send
from builders.split_spine import NAMES, boundary_mm, cut
from contract.test_render_dicom import errors_of


@pytest.mark.peer
def test_two_series_make_one_study_one_result_and_one_delivery_of_each_object(tmp_path: Path) -> None:
    pacs = Collector().start()
    upper, lower = (part.series() for part in cut(boundary_mm("T12", "L1"), overlap_mm=20.0, sagittal=[1]))
    try:
        with running_service(tmp_path, analysis="builders.split_spine:analyze", pacs_port=pacs.port, quiet_seconds=1.5) as service:
            for series in (lower, upper):
                assert set(send(service.dicom_port, series.datasets)) == {0x0000}
            (row,) = service.wait_for("done", seconds=120)
            result = service.get(f"/api/v1/results/{row['id']}").json()
            assert service.stop() == 0
    finally:
        pacs.stop()
    assert [level["name"] for level in result["levels"]] == list(NAMES)
    by_series = {level["name"]: level["series_instance_uid"] for level in result["levels"]}
    assert by_series == {name: (upper if name.startswith("T") else lower).series_uid for name in NAMES}
    assert Counter(str(entry.Modality) for entry in pacs.received) == {"SR": 1, "SEG": 2, "DOC": 1, "OT": 1}
    assert len(set(pacs.uids())) == len(pacs.received)
    for number, entry in enumerate(pacs.received):
        path = tmp_path / f"{number}.dcm"
        entry.file_meta = FileMetaDataset()
        entry.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        entry.save_as(path, enforce_file_format=True)
        assert errors_of(path) == [], entry.Modality
        assert dcmread(BytesIO(path.read_bytes())).StudyInstanceUID == upper.datasets[0].StudyInstanceUID
