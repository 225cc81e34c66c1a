"""The one table of codes: why something was not measured, or what the reader should know about a number."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a code should worry the reader."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Code(StrEnum):
    """Codes of abstention and of caution; the texts are in ``CODE_TABLE``."""

    NO_CALIBRATION = "NO_CALIBRATION"
    CALIBRATION_EXPIRED = "CALIBRATION_EXPIRED"
    CALIBRATION_DRIFT = "CALIBRATION_DRIFT"
    KVP_MISMATCH = "KVP_MISMATCH"
    KERNEL_MISMATCH = "KERNEL_MISMATCH"
    SCANNER_MISMATCH = "SCANNER_MISMATCH"
    MATERIAL_MISMATCH = "MATERIAL_MISMATCH"
    CONTRAST_PHASE = "CONTRAST_PHASE"
    CONTRAST_UNKNOWN = "CONTRAST_UNKNOWN"
    TISSUE_CHECK = "TISSUE_CHECK"
    CUT_BY_FIELD = "CUT_BY_FIELD"
    FRACTURED = "FRACTURED"
    METAL = "METAL"
    CEMENT = "CEMENT"
    SCLEROTIC = "SCLEROTIC"
    OUTLIER = "OUTLIER"
    VOI_TOO_SMALL = "VOI_TOO_SMALL"
    TOO_FEW_LEVELS = "TOO_FEW_LEVELS"
    NO_REFERENCE_HEIGHT = "NO_REFERENCE_HEIGHT"
    DEFORMITY_NOT_FRACTURE = "DEFORMITY_NOT_FRACTURE"
    SLICES_TOO_THICK = "SLICES_TOO_THICK"
    SLICES_MISSING = "SLICES_MISSING"
    GEOMETRY_IMPLAUSIBLE = "GEOMETRY_IMPLAUSIBLE"
    HU_IMPLAUSIBLE = "HU_IMPLAUSIBLE"
    LOW_QUALITY = "LOW_QUALITY"
    NUMBERING_UNCERTAIN = "NUMBERING_UNCERTAIN"
    VARIANT_ANATOMY = "VARIANT_ANATOMY"
    OTHER_SERIES = "OTHER_SERIES"
    OTHER_ACQUISITION = "OTHER_ACQUISITION"
    AGE_UNKNOWN = "AGE_UNKNOWN"
    AGE_BELOW_LIMIT = "AGE_BELOW_LIMIT"
    NOT_CT = "NOT_CT"
    NO_SPINE = "NO_SPINE"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    DECODE_FAILED = "DECODE_FAILED"
    LOSSY_COMPRESSION = "LOSSY_COMPRESSION"
    GANTRY_TILT = "GANTRY_TILT"
    DUPLICATE_SLICES = "DUPLICATE_SLICES"
    FRAMES_OF_REFERENCE = "FRAMES_OF_REFERENCE"
    ACQUISITION_OVERRIDDEN = "ACQUISITION_OVERRIDDEN"
    HU_CLIPPED = "HU_CLIPPED"
    LEVEL_NOT_GRADED = "LEVEL_NOT_GRADED"
    READER_EXCLUDED = "READER_EXCLUDED"
    READER_CORRECTED = "READER_CORRECTED"
    READER_REJECTED = "READER_REJECTED"
    VOI_STYLE = "VOI_STYLE"
    STACKS_JOINED = "STACKS_JOINED"


@dataclass(frozen=True, slots=True)
class CodeEntry:
    """What a code means and what the reader should do."""

    severity: Severity
    text: str
    advice: str


_I, _W, _C = Severity.INFO, Severity.WARNING, Severity.CRITICAL

# One row per line reads as the table it is.
# fmt: off
CODE_TABLE: dict[Code, CodeEntry] = {
    Code.NO_CALIBRATION: CodeEntry(_W, "No calibration entry fits this scanner, tube voltage and kernel.", "Scan a phantom and add the entry, or read the HU only."),
    Code.CALIBRATION_EXPIRED: CodeEntry(_W, "The calibration entry is outside its valid dates.", "Scan the phantom again and add a new entry."),
    Code.CALIBRATION_DRIFT: CodeEntry(_W, "The scanner has drifted since the calibration.", "Have the physicist check the QA series."),
    Code.KVP_MISMATCH: CodeEntry(_W, "The calibration was made at another tube voltage.", "Add an entry for this tube voltage; no calibrated number is given."),
    Code.KERNEL_MISMATCH: CodeEntry(_I, "The calibration was made with another kernel family.", "Read the wider interval."),
    Code.SCANNER_MISMATCH: CodeEntry(_W, "The calibration was made on another scanner.", "Read the wider interval, or calibrate this scanner."),
    Code.MATERIAL_MISMATCH: CodeEntry(_W, "The base material of the calibration differs from that of the cut-offs.", "Compare only numbers of one base material."),
    Code.CONTRAST_PHASE: CodeEntry(_W, "Intravenous contrast raises the density.", "Read the number with its correction and interval; confirm unenhanced where it matters."),
    Code.CONTRAST_UNKNOWN: CodeEntry(_W, "It could not be told whether contrast was given.", "Check the phase before using the density."),
    Code.TISSUE_CHECK: CodeEntry(_W, "HU of air, fat or muscle are not where they should be.", "Check the scanner's HU accuracy."),
    Code.CUT_BY_FIELD: CodeEntry(_I, "The vertebra is cut by the field of view.", "Read it on another series."),
    Code.FRACTURED: CodeEntry(_W, "The vertebra is fractured and not part of the mean density.", "See the grade of this level."),
    Code.METAL: CodeEntry(_W, "Metal in or near the vertebra.", "The level is left out."),
    Code.CEMENT: CodeEntry(_W, "Bone cement in the vertebra.", "The level is left out."),
    Code.SCLEROTIC: CodeEntry(_W, "The trabecular bone is abnormally dense.", "The level is left out; consider sclerosis or metastasis."),
    Code.OUTLIER: CodeEntry(_W, "The HU of this level does not fit its neighbours.", "The level is left out; look at it."),
    Code.VOI_TOO_SMALL: CodeEntry(_I, "Too little trabecular bone lies clear of the cortex.", "The HU of this level is not given."),
    Code.TOO_FEW_LEVELS: CodeEntry(_W, "Fewer than two usable levels among T12 to L4.", "No mean density is given."),
    Code.NO_REFERENCE_HEIGHT: CodeEntry(_I, "No intact neighbour to compare heights with.", "Grade by eye."),
    Code.DEFORMITY_NOT_FRACTURE: CodeEntry(_I, "Shape looks developmental or degenerative, not fractured.", "Not graded as a fracture; look at it."),
    Code.SLICES_TOO_THICK: CodeEntry(_W, "Slices are too far apart for this measurement.", "Send a thinner reconstruction."),
    Code.SLICES_MISSING: CodeEntry(_W, "Slices are missing or unevenly spaced.", "Send the complete series."),
    Code.GEOMETRY_IMPLAUSIBLE: CodeEntry(_C, "Vertebrae of impossible size: the slice positions or pixel spacing are wrong.", "Check the header; nothing was measured."),
    Code.HU_IMPLAUSIBLE: CodeEntry(_C, "The values are not Hounsfield units.", "Check rescale slope and intercept; nothing was measured."),
    Code.LOW_QUALITY: CodeEntry(_W, "Image quality is low for this measurement.", "Read with caution."),
    Code.NUMBERING_UNCERTAIN: CodeEntry(_W, "The level names are uncertain.", "Check the names before using them."),
    Code.VARIANT_ANATOMY: CodeEntry(_W, "The number or shape of the vertebrae deviates from the usual.", "Check the level names."),
    Code.OTHER_SERIES: CodeEntry(_I, "Another series of the input was not used.", "Choose it with --series if you want it."),
    Code.OTHER_ACQUISITION: CodeEntry(_I, "Another acquisition of the same series was not used.", "Choose it with --acquisition-number if you want it."),
    Code.AGE_UNKNOWN: CodeEntry(_I, "The age is unknown, so no category is given.", "Give the age."),
    Code.AGE_BELOW_LIMIT: CodeEntry(_I, "Below the age for which the categories hold (50 years; nothing is graded under 18).", "Look for secondary causes if the density is low."),
    Code.NOT_CT: CodeEntry(_W, "Not a CT image series.", "Send axial CT slices."),
    Code.NO_SPINE: CodeEntry(_W, "No thoracic or lumbar vertebra in view.", "Send a series that shows the spine."),
    Code.TOO_FEW_SLICES: CodeEntry(_W, "Too few slices to find a vertebra.", "Send the whole series."),
    Code.DECODE_FAILED: CodeEntry(_C, "Pixel data could not be decoded.", "Send the series again, uncompressed if possible."),
    Code.LOSSY_COMPRESSION: CodeEntry(_W, "The pixels were compressed with loss.", "HU may be altered; send the original."),
    Code.GANTRY_TILT: CodeEntry(_I, "The gantry was tilted; positions were followed.", "None needed."),
    Code.DUPLICATE_SLICES: CodeEntry(_I, "Slices were present twice; one of each was used.", "None needed."),
    Code.FRAMES_OF_REFERENCE: CodeEntry(_I, "Images of one series name different frames of reference; they were taken for one.", "Look whether the pictures fit together."),
    Code.ACQUISITION_OVERRIDDEN: CodeEntry(_I, "Acquisition facts were given by the user and replace the header's.", "Check the acquisition file."),
    Code.HU_CLIPPED: CodeEntry(_I, "HU are clipped at the top, so dense bone and metal cannot be told apart.", "None needed for trabecular bone."),
    Code.LEVEL_NOT_GRADED: CodeEntry(_I, "This level is not graded (cervical, cut, or patient under 18).", "None needed."),
    Code.READER_EXCLUDED: CodeEntry(_I, "The reader left this level out.", "None needed; the reason stands beside it."),
    Code.READER_CORRECTED: CodeEntry(_I, "The reader corrected this reading.", "None needed; the earlier version is kept."),
    Code.READER_REJECTED: CodeEntry(_C, "The reader rejected this reading.", "Use none of its numbers; read the images."),
    Code.VOI_STYLE: CodeEntry(_W, "The HU were taken in the volume of interest of another program, so no category is given.", "Compare them only with values of that program."),
    Code.STACKS_JOINED: CodeEntry(_I, "The spine lies in several series, which were measured one by one and joined.", "Check the names where the series meet."),
}
# fmt: on
