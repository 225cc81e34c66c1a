"""Digital patients: made-up people of known anatomy and density, scanned by calculation; no outside data.

Pure functions of their options, so that a demonstration, a test and a site's own validation all see the same patient.
"""

from trabecula_morphometry.digital_patient.attenuation import DigitalPhantomLine, phantom_line_at
from trabecula_morphometry.digital_patient.options import COLUMN_LEVELS, PatientOptions, VertebralFracture
from trabecula_morphometry.digital_patient.patient import DigitalPatient, make_digital_patient
from trabecula_morphometry.digital_patient.truth import LevelTruth, PatientTruth

__all__ = [
    "COLUMN_LEVELS",
    "DigitalPatient",
    "DigitalPhantomLine",
    "LevelTruth",
    "PatientOptions",
    "PatientTruth",
    "VertebralFracture",
    "make_digital_patient",
    "phantom_line_at",
]
