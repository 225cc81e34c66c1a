"""What a de-identified CT image keeps. Everything that is not named here is removed, so that what nobody has thought of cannot pass.

The lists follow what reading, measuring and calibrating need: geometry, values, scanner, tube, filter, table, field of reconstruction.
PS3.15 table E.1-1 wants none of them removed but those of ``RETAINED_BY_OPTION``; a test holds the lists against that table.
"""

_IMAGE = """
    ImageType FrameType SOPClassUID Modality NumberOfFrames SamplesPerPixel PhotometricInterpretation Rows Columns PixelSpacing
    PixelAspectRatio BitsAllocated BitsStored HighBit PixelRepresentation SmallestImagePixelValue LargestImagePixelValue
    PixelPaddingValue PixelPaddingRangeLimit RescaleIntercept RescaleSlope RescaleType WindowCenter WindowWidth VOILUTFunction
    LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod BurnedInAnnotation PixelPresentation
    VolumetricProperties VolumeBasedCalculationTechnique ContentQualification PresentationLUTShape PixelData
"""
_PLACE = """
    SeriesNumber AcquisitionNumber InstanceNumber ImagePositionPatient ImageOrientationPatient SliceLocation SliceThickness
    SpacingBetweenSlices PatientPosition FrameLaterality TemporalPositionIndex StackID InStackPositionNumber DimensionIndexValues
    DimensionIndexPointer FunctionalGroupPointer DimensionOrganizationType
"""
_SCANNER = """
    Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions KVP XRayTubeCurrent XRayTubeCurrentInmA ExposureTime
    ExposureTimeInms Exposure ExposureInmAs ExposureModulationType EstimatedDoseSaving CTDIvol FilterType FilterMaterial GeneratorPower
    FocalSpots ConvolutionKernel ConvolutionKernelGroup ReconstructionAlgorithm ReconstructionDiameter ReconstructionFieldOfView
    ReconstructionPixelSpacing ReconstructionAngle ReconstructionTargetCenterPatient DataCollectionDiameter DataCollectionCenterPatient
    DistanceSourceToDetector DistanceSourceToPatient GantryDetectorTilt TableHeight TableSpeed TableFeedPerRotation RotationDirection
    RevolutionTime SingleCollimationWidth TotalCollimationWidth SpiralPitchFactor ScanOptions AcquisitionType MultienergyCTAcquisition
    TubeAngle ConstantVolumeFlag FluoroscopyFlag WaterEquivalentDiameter ContrastBolusVolume
"""
_PATIENT = "PatientSex PatientSize PatientWeight"

KEPT = frozenset((_IMAGE + _PLACE + _SCANNER + _PATIENT).split())
"""Kept as they are."""

ESSENTIAL = frozenset(
    """
    ImagePositionPatient ImageOrientationPatient PixelSpacing Rows Columns BitsAllocated BitsStored PixelRepresentation RescaleSlope
    RescaleIntercept PixelData SOPInstanceUID SeriesInstanceUID StudyInstanceUID
    """.split()  # noqa: SIM905 - reads better than a list of strings
)
"""An image in which one of these cannot be read is left out."""

NEW_UIDS = frozenset(["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "DimensionOrganizationUID"])
"""Replaced by a UID that only the holder of the key can lead back."""

_SEQUENCES = """
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlanePositionSequence
    PlaneOrientationSequence CTImageFrameTypeSequence CTAcquisitionTypeSequence CTAcquisitionDetailsSequence CTReconstructionSequence
    CTExposureSequence CTXRayDetailsSequence CTTableDynamicsSequence CTGeometrySequence CTPositionSequence
    PixelValueTransformationSequence FrameVOILUTSequence FrameContentSequence DimensionIndexSequence DimensionOrganizationSequence
"""
SEQUENCES = frozenset(_SEQUENCES.split())
"""Kept with those of their elements that are named here."""

EMPTIED = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientBirthDate", "PositionReferenceIndicator",
)  # fmt: skip
"""Type 2 in CT images: there, and empty."""

TYPE_2 = ("PatientSex", "SeriesNumber", "InstanceNumber", "AcquisitionNumber", "KVP", "SliceThickness")
"""Type 2 in CT images: empty where the original has none."""

RETAINED_BY_OPTION = {
    "DeviceSerialNumber": "113109",
    "PatientSex": "113108",
    "PatientSize": "113108",
    "PatientWeight": "113108",
    "PatientAge": "113108",
}
"""Elements that the Basic Profile removes, and the option (PS3.16 CID 7050) by which they stay."""

METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113108", "Retain Patient Characteristics Option"),
    ("113109", "Retain Device Identity Option"),
)
