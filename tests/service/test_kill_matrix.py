"""A short kill matrix; ``./run bench kill`` is the long one."""

from pathlib import Path

import pytest

from builders.kill_points import POINTS, resolve
from builders.postgres import PostgresServer
from service.kill_matrix import SERIES_AT_ONCE, Matrix, run_matrix


@pytest.mark.parametrize("point", POINTS)
def test_each_point_is_still_a_function_of_the_product(point: str) -> None:
    assert callable(resolve(point)[2])


def test_one_process_killed_twice_loses_and_doubles_nothing(tmp_path: Path) -> None:
    shown = run_matrix(Matrix(tmp_path, None), ["row committed, not answered", "files kept"], runs=1, seed=3)
    assert (shown["kills"], shown["restarts"], shown["studies"]) == (2, 2, 2 * SERIES_AT_ONCE)


def test_a_process_on_postgresql_killed_loses_and_doubles_nothing(
    tmp_path: Path, postgres_server: PostgresServer, migrated_database: str
) -> None:
    matrix = Matrix(tmp_path, postgres_server, postgres_server.create(like=migrated_database))
    shown = run_matrix(matrix, ["result written, not committed"], runs=1, seed=4)
    assert (shown["kills"], shown["restarts"], shown["studies"]) == (1, 1, SERIES_AT_ONCE)
