"""Draws one reformatted view of the column: grey values, outlines, six points, names, orientation letters and a scale bar."""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trabecula_morphometry.levels import FOREIGN_LABEL, LABEL_OF_LEVEL, SACRUM_LABEL
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.reformat import ReformattedPlane, View, reformat
from trabecula_service.render.shared_parts import once_per_input
from trabecula_service.result import Level

WINDOW_CENTER_HU, WINDOW_WIDTH_HU = 250.0, 1100.0

_GRADE_COLOURS = {0: (225, 240, 255), 1: (255, 226, 64), 2: (255, 150, 40), 3: (255, 70, 70)}
_NOT_GRADED = (190, 200, 210)
_OTHER = (120, 180, 150)
_POINT = (90, 230, 255)
_LETTER = (255, 255, 255)
_OVERSAMPLING = 2
SAGITTAL_SIZE = (500, 944)
"""Width and height in pixels; 190 dots per inch on the page, far finer than any CT."""


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of all pictures, from the package."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(files("trabecula_service.render") / "fonts" / name), size)


@once_per_input
def sagittal_panel(document_input: DocumentInput) -> Image.Image:
    """The sagittal view that the overview, the capture and the PDF share."""
    return column_picture(document_input, "sagittal", SAGITTAL_SIZE)


def column_picture(document_input: DocumentInput, view: View, size: tuple[int, int]) -> Image.Image:
    """One view, exactly ``size`` (width, height) pixels, black where the image does not reach."""
    width, height = size
    levels = document_input.result.levels
    plane = reformat(document_input.image.volume, document_input.bodies, [level.center_lps_mm for level in levels], view, height)
    shift = (width - plane.hu.shape[1]) // 2
    picture = _grey(plane, size, shift)
    # Enlarged without smoothing and averaged back: grey values stay as they are, lines and dots get soft edges.
    large = picture.resize((width * _OVERSAMPLING, height * _OVERSAMPLING), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    _draw_outlines(draw, plane, levels, shift)
    if view == "sagittal":
        _draw_points(draw, plane, levels, shift)
    picture = large.reduce(_OVERSAMPLING)
    draw = ImageDraw.Draw(picture)
    for level in levels:
        _draw_name(draw, plane, level, shift, width)
    _draw_orientation(draw, view, size)
    _draw_scale(draw, plane, size)
    return picture


def _grey(plane: ReformattedPlane, size: tuple[int, int], shift: int) -> Image.Image:
    grey = np.clip((plane.hu - (WINDOW_CENTER_HU - WINDOW_WIDTH_HU / 2)) / WINDOW_WIDTH_HU, 0, 1) * 255
    canvas = Image.new("L", size)
    canvas.paste(Image.fromarray(grey.astype(np.uint8)), (shift, 0))
    return canvas.convert("RGB")


def _colour(level: Level) -> tuple[int, int, int]:
    return _NOT_GRADED if level.genant.grade is None else _GRADE_COLOURS[level.genant.grade]


def _draw_outlines(draw: ImageDraw.ImageDraw, plane: ReformattedPlane, levels: list[Level], shift: int) -> None:
    colours = {LABEL_OF_LEVEL[level.name]: _colour(level) for level in levels}
    for label in np.unique(plane.labels[plane.labels > 0]).tolist():
        colour = colours.get(label, _OTHER if label in (SACRUM_LABEL, FOREIGN_LABEL) else _NOT_GRADED)
        for outline in plane.outlines(label):
            # Pixel centres lie half a pixel inside the picture's corner.
            path = (outline + np.array([shift + 0.5, 0.5])) * _OVERSAMPLING
            draw.line([tuple(point) for point in path.tolist()], fill=colour, width=3, joint="curve")


def _draw_points(draw: ImageDraw.ImageDraw, plane: ReformattedPlane, levels: list[Level], shift: int) -> None:
    for level in levels:
        if level.points_lps_mm is None:
            continue
        for point in level.points_lps_mm.model_dump().values():
            column, row = plane.to_pixel(point)
            x, y = (column + shift + 0.5) * _OVERSAMPLING, (row + 0.5) * _OVERSAMPLING
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=_POINT, outline=(0, 0, 0), width=2)


def _draw_name(draw: ImageDraw.ImageDraw, plane: ReformattedPlane, level: Level, shift: int, width: int) -> None:
    column, row = plane.to_pixel(level.center_lps_mm)
    # In front of the body (sagittal) or right of it (coronal), clear of the trabecular bone that the reader wants to see.
    face = font(20, bold=True)
    half = face.getlength(level.name) / 2
    offset = -(22.0 / plane.pixel_mm + half) if plane.axis == 1 else 29.0 / plane.pixel_mm + half
    x = float(np.clip(column + shift + offset, half + 4, width - half - 4))
    draw.text((x, row), level.name, font=face, fill=_colour(level), anchor="mm", stroke_width=3, stroke_fill=(0, 0, 0))


def _draw_orientation(draw: ImageDraw.ImageDraw, view: View, size: tuple[int, int]) -> None:
    width, height = size
    left, right = ("A", "P") if view == "sagittal" else ("R", "L")
    # Sides in the upper corners: at mid height they would cover level names.
    places = ((left, (14, 14)), (right, (width - 14, 14)), ("S", (width // 2, 14)), ("I", (width // 2, height - 14)))
    for letter, place in places:
        draw.text(place, letter, font=font(20, bold=True), fill=_LETTER, anchor="mm", stroke_width=3, stroke_fill=(0, 0, 0))


def _draw_scale(draw: ImageDraw.ImageDraw, plane: ReformattedPlane, size: tuple[int, int]) -> None:
    height = size[1]
    length = 50.0 / plane.pixel_mm
    x, y = 16, height - 22
    strokes = [(x, y, x + length, y), *((end, y - 6, end, y + 6) for end in (x, x + length))]
    # A dark edge, for where bright bone lies under it.
    for colour, width in (((0, 0, 0), 7), (_LETTER, 3)):
        for stroke in strokes:
            draw.line(stroke, fill=colour, width=width)
    draw.text((x + length / 2, y - 9), "50 mm", font=font(17, bold=True), fill=_LETTER, anchor="mb", stroke_width=3, stroke_fill=(0, 0, 0))
