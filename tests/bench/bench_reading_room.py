"""How quickly the reading room opens and scrolls: a CT of 512 x 512 x 500 in Chromium, from the loopback."""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from builders.chromium import Browser, chromium
from builders.results import Column, column_input
from builders.site import Site
from trabecula_morphometry.volume import Grid, LabelVolume, Volume
from trabecula_service.api.server import WebServer
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.reading_images import FILE_NAME, reading_images
from trabecula_service.settings.access import ApiSettings

COARSE = Column(names=("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5"), spacing_mm=(1.4, 1.4, 1.48), size_xy=(256, 256))
READY = "document.getElementById('room').dataset.ready === 'yes' && Object.values(readingRoom.views).every(v => v.painted === v.index)"
SCROLL = """(async () => {
  const view = readingRoom.views['%s'], count = view.stack.count, started = performance.now();
  let painted = 0;
  for (let i = 0; i < Math.min(count, 200); i += 1) {
    readingRoom.setIndex(view, i);
    while (view.painted !== i) { await new Promise(requestAnimationFrame); }
    painted += 1;
  }
  return painted / ((performance.now() - started) / 1000);
})()"""


def say(text: str) -> None:
    """One line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def large_input() -> DocumentInput:
    """The synthetic column at twice its fineness, with the noise of a real CT (which is what compresses badly)."""
    made = column_input(COARSE, losses={"L1": 0.3})
    rng = np.random.default_rng(5)

    def doubled(array: np.ndarray) -> np.ndarray:
        return array.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:500]

    hu = doubled(np.asarray(made.image.volume.hu_zyx))
    hu += rng.normal(0.0, 25.0, hu.shape).astype(np.int16)
    grid = made.image.volume.grid
    matrix = grid.voxel_to_lps.copy()
    matrix[:3, 3] = grid.to_lps((-0.25, -0.25, -0.25))
    matrix[:3, :3] *= 0.5
    fine = Grid(shape_zyx=hu.shape, voxel_to_lps=matrix)
    labels = LabelVolume(labels_zyx=doubled(made.bodies.labels_zyx), grid=fine)
    image = replace(made.image, volume=Volume(hu_zyx=hu, grid=fine))
    return replace(made, image=image, bodies=labels, posterior=LabelVolume(labels_zyx=np.zeros_like(labels.labels_zyx), grid=fine))


def main() -> None:
    """Print the figures."""
    document_input = large_input()
    say(f"matrix {document_input.image.volume.hu_zyx.shape[::-1]}")
    started, cpu = time.perf_counter(), time.process_time()
    images = reading_images(document_input)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    say(f"made in {seconds:.1f} s ({cpu_seconds:.1f} s of processor time), {len(images) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder, chromium(1920, 1080) as browser:
        site = Site(Path(folder))
        study = site.add(1, document_input.result, files={FILE_NAME: images})
        server = WebServer(site.app, ApiSettings(port=0))
        server.start()
        try:
            measure(browser, f"{server.url}/studies/{study}")
        finally:
            server.stop()
            site.close()


def measure(browser: Browser, address: str) -> None:
    """Open the page a few times, then scroll each stack through planes that are not loaded yet."""
    times = []
    for _ in range(5):
        browser.open("about:blank")
        started = time.perf_counter()
        browser.open(address)
        browser.wait(READY)
        times.append(time.perf_counter() - started)
    say(f"opens in {sorted(times)[2]:.2f} s (median of {len(times)}), slowest {max(times):.2f} s")
    for stack in ("axial", "sagittal", "coronal"):
        say(f"scrolls {stack}: {browser.run(SCROLL % stack):.0f} planes/s, not loaded before")
    say(f"scrolls axial again: {browser.run(SCROLL % 'axial'):.0f} planes/s")
    say(f"complaints: {browser.complaints or None}")


if __name__ == "__main__":
    main()
