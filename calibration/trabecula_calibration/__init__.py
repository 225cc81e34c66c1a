"""From Hounsfield units to mg/cm3: calibration lines, estimates, contrast, uncertainty and classification."""
