"""Reading images: DICOM series, zips and NIfTI files become volumes in LPS millimetres with their facts."""
