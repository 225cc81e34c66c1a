"""Coded concepts of the DICOM documents: SNOMED CT and DICOM codes where they exist, our own scheme where they do not.

SNOMED CT codes of the vertebrae: PS3.16 concepts as shipped by pydicom. Neither dictionary has a code for trabecular density, loss of
vertebral height, Genant's grade, L6 or T13; a code that looks similar would be a false statement, so these are private.
"""

import unicodedata

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from trabecula_morphometry.codes import CODE_TABLE, Code
from trabecula_morphometry.levels import FOREIGN_LABEL, SACRUM_LABEL

PRIVATE_SCHEME = "99TRABECULA"
PRIVATE_SCHEME_OID = "2.25.286733054637411872409214338015907212845"
"""Names the private scheme where an object identifier or a URI is asked for (FHIR)."""

_VERTEBRA_SCT: dict[str, str] = {
    "C1": "14806007", "C2": "39976000", "C3": "113205007", "C4": "5329002", "C5": "36978003", "C6": "36054005", "C7": "87391001",
    "T1": "64864005", "T2": "53733008", "T3": "1626008", "T4": "73071006", "T5": "56401006", "T6": "45296009", "T7": "62487009",
    "T8": "11068009", "T9": "82687006", "T10": "7610001", "T11": "12989004", "T12": "23215003",
    "L1": "66794005", "L2": "14293000", "L3": "36470004", "L4": "11994002", "L5": "49668003",
}  # fmt: skip


def _sct(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator="SCT", meaning=meaning)


def _dcm(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator="DCM", meaning=meaning)


def own_code(value: str, meaning: str) -> CodedConcept:
    """A concept of the private scheme."""
    return CodedConcept(value=value, scheme_designator=PRIVATE_SCHEME, meaning=meaning)


def _ucum(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator="UCUM", meaning=meaning)


def ascii_text(text: str, limit: int = 64) -> str:
    """Text that any character set of the study can hold: our own words must not force another set on the patient's name."""
    plain = text.replace("≥", ">=").replace("≤", "<=").replace("–", "-").replace("±", "+-").replace("³", "3").replace("\\", "/")
    folded = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode("ascii")
    printable = "".join(sign if sign.isprintable() else " " for sign in folded)
    return printable[:limit].strip()


def level_code(name: str) -> CodedConcept:
    """Finding site or segment type of a vertebral level; L6 and T13 exist only in our own scheme."""
    if name in _VERTEBRA_SCT:
        return _sct(_VERTEBRA_SCT[name], f"{name} vertebra")
    return own_code(name, {"L6": "Sixth lumbar vertebra", "T13": "Thirteenth thoracic vertebra"}[name])


def region_code(name: str) -> CodedConcept:
    """Region of the spine to which a level belongs."""
    return {
        "C": _sct("122494005", "Cervical spine"),
        "T": _sct("122495006", "Thoracic spine"),
        "L": _sct("122496007", "Lumbar spine"),
    }[name[0]]


SPINE = _sct("421060004", "Spine")
VERTEBRAL_BODY = _sct("3572006", "Vertebral body")
SACRUM = _sct("54735007", "Sacrum")
FOREIGN_MATERIAL = own_code("FOREIGN_MATERIAL", "Metal, cement or other foreign material")
ANATOMICAL_STRUCTURE = _sct("91723000", "Anatomical Structure")
PHYSICAL_OBJECT = _sct("260787004", "Physical object")
ARTIFICIAL_INTELLIGENCE = _dcm("123110", "Artificial Intelligence")
PROCESSING_EQUIPMENT = _dcm("109102", "Processing Equipment")
CT_OF_SPINE_REPORTED = own_code("OPPORTUNISTIC_SPINE_READING", "Opportunistic reading of the spine on CT")
STUDY_SUMMARY = own_code("STUDY_SUMMARY", "Summary of the study")
COMMENT = _dcm("121106", "Comment")

SPECIAL_SEGMENTS: dict[int, tuple[str, CodedConcept, CodedConcept]] = {
    SACRUM_LABEL: ("Sacrum", ANATOMICAL_STRUCTURE, SACRUM),
    FOREIGN_LABEL: ("Foreign material", PHYSICAL_OBJECT, FOREIGN_MATERIAL),
}
"""Name, category and type of the segments that are no vertebra."""

MG_CM3 = _ucum("mg/cm3", "mg/cm3")
MILLIMETRE = _ucum("mm", "mm")
CUBIC_MILLIMETRE = _ucum("mm3", "mm3")
PERCENT = _ucum("%", "percent")
NO_UNIT = _ucum("1", "no units")
DAY = _ucum("d", "days")
HOUNSFIELD = _ucum("[hnsf'U]", "Hounsfield unit")

ATTENUATION = _dcm("112031", "Attenuation Coefficient")
MEAN = _sct("373098007", "Mean")
STANDARD_DEVIATION = _sct("386136009", "Standard Deviation")
MEDIAN = _dcm("130290", "Median")
VOLUME = _sct("118565006", "Volume")

DENSITY = own_code("VBMD", "Trabecular volumetric bone mineral density")
DENSITY_LOW = own_code("VBMD_LOWER_95", "Density, lower limit of 95 percent interval")
DENSITY_HIGH = own_code("VBMD_UPPER_95", "Density, upper limit of 95 percent interval")
MEAN_DENSITY = own_code("VBMD_MEAN", "Mean trabecular volumetric bone mineral density")
MEAN_DENSITY_LOW = own_code("VBMD_MEAN_LOWER_95", "Mean density, lower limit of 95 percent interval")
MEAN_DENSITY_HIGH = own_code("VBMD_MEAN_UPPER_95", "Mean density, upper limit of 95 percent interval")
EARLIER_DENSITY = own_code("VBMD_EARLIER", "Earlier mean density that can be compared")
EARLIER_DAYS = own_code("VBMD_EARLIER_DAYS", "Days since the earlier density")
DENSITY_CHANGE = own_code("VBMD_CHANGE", "Change of the mean density since the earlier one")
LEAST_CHANGE = own_code("VBMD_CHANGE_LEAST", "Least significant change of the mean density")
CHANGE_VERDICT = own_code("VBMD_CHANGE_VERDICT", "Significance of the change of the mean density")
CHANGE_VERDICTS = {
    "none": own_code("CHANGE_NONE", "No significant change"),
    "decrease": own_code("CHANGE_DECREASE", "Significant decrease"),
    "increase": own_code("CHANGE_INCREASE", "Significant increase"),
}
CONFIDENCE = own_code("LEVEL_CONFIDENCE", "Confidence of the level name")
DEFORMITY_INDEX = own_code("SDI", "Spinal deformity index")

PLACES = ("anterior", "middle", "posterior")
HEIGHT = {where: own_code(f"HEIGHT_{where.upper()}", f"Vertebral body height, {where}") for where in PLACES}
HEIGHT_EXPECTED = {where: own_code(f"HEIGHT_EXPECTED_{where.upper()}", f"Expected vertebral body height, {where}") for where in PLACES}
HEIGHT_SD = {where: own_code(f"HEIGHT_SD_{where.upper()}", f"Standard uncertainty of height, {where}") for where in PLACES}
HEIGHT_LOSS = {where: own_code(f"HEIGHT_LOSS_{where.upper()}", f"Loss of vertebral body height, {where}") for where in (*PLACES, "max")}
GRADE_PROBABILITY = tuple(own_code(f"GENANT_PROBABILITY_{grade}", f"Probability of Genant grade {grade}") for grade in range(4))

GRADE = own_code("GENANT_GRADE", "Genant semiquantitative grade")
GRADES = (
    own_code("GENANT_0", "Grade 0: height loss below 20 percent"),
    own_code("GENANT_1", "Grade 1: height loss 20 to below 25 percent"),
    own_code("GENANT_2", "Grade 2: height loss 25 to below 40 percent"),
    own_code("GENANT_3", "Grade 3: height loss 40 percent or more"),
)
MAX_GRADE = own_code("GENANT_MAX_GRADE", "Highest Genant grade in the study")
SHAPE = own_code("GENANT_TYPE", "Genant type of deformity")
SHAPES = {name: own_code(f"GENANT_{name.upper()}", f"{name.capitalize()} deformity") for name in ("wedge", "biconcave", "crush")}
BASIS = own_code("CALIBRATION_BASIS", "Basis of the density calibration")
BASES = {
    "calibrated": own_code("BASIS_CALIBRATED", "Phantom calibration of this scanner"),
    "simultaneous": own_code("BASIS_SIMULTANEOUS", "Phantom in the same scan"),
    "phantomless": own_code("BASIS_PHANTOMLESS", "Calibration on the patient's own tissue"),
    "estimate": own_code("BASIS_ESTIMATE", "Estimate without calibration of this scanner"),
    "none": own_code("BASIS_NONE", "Not calibrated"),
}
MATERIAL = own_code("BASE_MATERIAL", "Base material of the density")
MATERIALS = {
    "K2HPO4": own_code("MATERIAL_K2HPO4", "Dipotassium hydrogen phosphate equivalent"),
    "HA": own_code("MATERIAL_HA", "Calcium hydroxyapatite equivalent"),
}
CATEGORY = own_code("DENSITY_CATEGORY", "Category of the mean density")
CATEGORIES = {
    "low": own_code("DENSITY_LOW", "Below 80 mg/cm3"),
    "intermediate": own_code("DENSITY_INTERMEDIATE", "80 to 120 mg/cm3"),
    "normal": own_code("DENSITY_NORMAL", "Above 120 mg/cm3"),
}
NUMBERING = own_code("NUMBERING", "Certainty of the level names")
NUMBERING_CERTAIN = own_code("NUMBERING_CERTAIN", "Level names certain")
NUMBERING_UNCERTAIN = own_code("NUMBERING_UNCERTAIN", "Level names uncertain")
STATUS = own_code("RESULT_STATUS", "Completeness of the result")
STATUSES = {
    "complete": own_code("STATUS_COMPLETE", "Complete"),
    "partial": own_code("STATUS_PARTIAL", "Partial: not everything could be measured"),
    "not_evaluable": own_code("STATUS_NOT_EVALUABLE", "Not evaluable"),
}
FIELD_OF_VIEW = own_code("BODY_IN_FIELD", "Vertebral body in the field of view")
FIELD_OF_VIEW_VALUES = {
    True: own_code("BODY_WHOLE", "Whole body in the field of view"),
    False: own_code("BODY_CUT", "Body cut by the field of view"),
}
EXCLUSION = own_code("EXCLUSION", "Reason for leaving out or not grading")
CONTRAST_PHASE = own_code("CONTRAST_PHASE", "Intravenous contrast phase")


def contrast_phase_code(phase: str) -> CodedConcept:
    """Coded contrast phase."""
    return own_code(f"PHASE_{phase.upper()}", phase.replace("_", " ").capitalize())


def reason_code(code: Code) -> CodedConcept:
    """A code of abstention or caution with the beginning of its text (the meaning holds 64 signs at most)."""
    # A code value holds 16 signs in Code Value (0008,0100); highdicom puts longer ones into Long Code Value.
    return own_code(str(code), ascii_text(CODE_TABLE[code].text.rstrip(".")))


def coding_scheme_identification() -> CodingSchemeIdentificationItem:
    """Declaration of the private scheme, for the Coding Scheme Identification Sequence."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME,
        name="Trabecula opportunistic bone reading",
        version="1",
        responsible_organization="Trabecula",
    )
