"""Where a reader outlined a body, the training target is the reader's edge; elsewhere the network keeps its own opinion."""

import numpy as np

from trabecula_models.locate import CLASS_NAMES
from trabecula_models.training.fine_tuning_cases import NEAR_A_READ_BODY_MM, classes_around_read_bodies

BODY, POSTERIOR, DISC = (CLASS_NAMES.index(name) for name in ("body", "posterior", "disc"))


def channels_that_say(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Logits (classes, z, y, x) with a best and a second best class."""
    out = np.zeros((len(CLASS_NAMES), *first.shape), dtype=np.float32)
    np.put_along_axis(out, second[None], 1.0, axis=0)
    np.put_along_axis(out, first[None], 2.0, axis=0)
    return out


def test_bone_that_the_reader_left_out_takes_the_second_best_class_and_what_he_outlined_is_body() -> None:
    shape = (4, 4, 40)
    first = np.full(shape, BODY)
    first[:, :, 0] = DISC
    bodies = np.zeros(shape, dtype=np.uint8)
    bodies[:, :, 0:3] = 20
    classes = classes_around_read_bodies(channels_that_say(first, np.full(shape, POSTERIOR)), bodies, spacing_mm=1.0)
    assert (classes[:, :, 0:3] == BODY).all()
    assert (classes[:, :, 3:10] == POSTERIOR).all()


def test_bodies_that_nobody_read_stay_as_the_network_sees_them() -> None:
    shape = (4, 4, 40)
    bodies = np.zeros(shape, dtype=np.uint8)
    bodies[:, :, 0:3] = 20
    classes = classes_around_read_bodies(channels_that_say(np.full(shape, BODY), np.full(shape, POSTERIOR)), bodies, spacing_mm=1.0)
    far = 3 + int(NEAR_A_READ_BODY_MM)
    assert (classes[:, :, far + 1 :] == BODY).all()
