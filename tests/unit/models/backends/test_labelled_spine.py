"""Names of a foreign model count as certain only where our own reading of the column agrees."""

import numpy as np
import pytest

from builders.coded_ct import coarse_patient, whole_vertebrae
from trabecula_models.backends.label_map import RIB_NUMBER, Parts
from trabecula_models.backends.labelled_spine import spine_from_labels
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.levels import LABEL_OF_LEVEL, SACRUM_LABEL
from trabecula_morphometry.volume import LabelVolume


def spine_of(numbers: dict[int, int] | None = None, parts: Parts = Parts.VERTEBRA) -> SpineSegmentation:
    """The digital patient's mask with some numbers changed, as a model would give it."""
    patient = coarse_patient()
    mask = whole_vertebrae(patient) if parts is Parts.VERTEBRA else patient.bodies.labels_zyx
    table = np.arange(256, dtype=np.uint8)
    for old, new in (numbers or {}).items():
        table[old] = new
    labels = LabelVolume(labels_zyx=table[mask], grid=patient.volume.grid)
    found = spine_from_labels(patient.volume, labels, parts, backend="test", weights_sha256="0" * 64)
    if found is None:
        pytest.fail("nothing found")
    return found


def names(found: SpineSegmentation) -> list[str]:
    return [vertebra.name for vertebra in found.vertebrae]


def shifted(by: int) -> dict[int, int]:
    return {number: number + by for number in range(16, 25)}


def test_a_sacrum_right_below_l5_is_an_anchor_and_leaves_only_unlikely_other_readings() -> None:
    found = spine_of()
    assert found.numbering.anchors == ("sacrum",)
    assert max((alternative.probability for alternative in found.numbering.alternatives), default=0.0) < 0.1


def test_ribs_down_to_t12_and_a_sacrum_below_l5_make_the_names_certain() -> None:
    patient = coarse_patient()
    mask = whole_vertebrae(patient)
    for name in ("T9", "T10", "T11", "T12"):
        z, y, x = np.rint(np.argwhere(patient.bodies.labels_zyx == LABEL_OF_LEVEL[name]).mean(axis=0)).astype(int)
        for side in (-1, 1):  # a block where the neck of a rib lies: 15-30 mm beside the middle, behind it
            mask[z - 2 : z + 3, y : y + 8, x + side * 15 - 5 : x + side * 15 + 6] = RIB_NUMBER
    labels = LabelVolume(labels_zyx=mask, grid=patient.volume.grid)
    found = spine_from_labels(patient.volume, labels, Parts.VERTEBRA, backend="test", weights_sha256="0" * 64)
    if found is None:
        pytest.fail("nothing found")
    assert found.numbering.certain, found.numbering
    assert set(found.numbering.anchors) == {"sacrum", "last_rib"}
    assert RIB_NUMBER not in found.bodies.labels_zyx
    assert RIB_NUMBER not in found.posterior.labels_zyx


def test_without_an_anchor_the_names_stay_uncertain() -> None:
    found = spine_of({SACRUM_LABEL: 0})
    assert names(found)[-1] == "L5"
    assert not found.numbering.certain
    assert found.numbering.alternatives


def test_names_that_the_sacrum_contradicts_are_kept_but_uncertain_with_the_right_shift() -> None:
    found = spine_of(shifted(-1))
    assert names(found)[-2:] == ["L3", "L4"]
    assert not found.numbering.certain
    assert 1 in [alternative.shift for alternative in found.numbering.alternatives]


def test_levels_out_of_order_are_named_anew_and_uncertain() -> None:
    found = spine_of({20: 22, 22: 20})
    assert names(found) == ["T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5"]
    assert not found.numbering.certain


def test_t13_stands_between_t12_and_l1() -> None:
    # T9..L5 said as T10..T12, T13, L1..L5
    renamed = dict(zip([16, 17, 18, 19], [17, 18, 19, LABEL_OF_LEVEL["T13"]], strict=True))
    found = spine_of(renamed)
    assert names(found) == ["T10", "T11", "T12", "T13", "L1", "L2", "L3", "L4", "L5"]
    assert "T13" in found.numbering.variants


def test_a_model_of_bodies_gives_no_arches() -> None:
    found = spine_of(parts=Parts.BODY)
    assert not found.posterior.labels_zyx.any()
    assert len(names(found)) == 9


def test_a_body_cut_by_the_field_is_marked_or_left_out() -> None:
    patient = coarse_patient()
    z = np.argwhere(patient.bodies.labels_zyx == LABEL_OF_LEVEL["L3"])[:, 0]
    low = patient.volume.grid.to_lps([0, 0, int(z.min() + 0.35 * (z.max() - z.min()))])
    high = patient.volume.grid.to_lps(np.array(patient.volume.grid.shape_zyx[::-1]) - 1)
    seen = patient.volume.crop(low + 4.0, high)
    labels = LabelVolume(labels_zyx=whole_vertebrae(patient), grid=patient.volume.grid).resample(seen.grid)
    found = spine_from_labels(seen, labels, Parts.VERTEBRA, backend="test", weights_sha256="0" * 64)
    if found is None:
        pytest.fail("nothing found")
    complete = {vertebra.name: vertebra.complete for vertebra in found.vertebrae}
    assert not complete.get("L3", False)
    assert complete["L2"]
    assert "L4" not in complete
