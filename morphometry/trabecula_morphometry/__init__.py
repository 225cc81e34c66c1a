"""Pure geometry and measurement of the vertebral column: numpy in, numpy out; no files, no clock, no torch, no DICOM."""
