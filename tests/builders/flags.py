"""What an image that was read says about itself."""

from trabecula_morphometry.codes import Code
from trabecula_service.dicom.image import CtImage


def codes(image: CtImage) -> set[Code]:
    return {flag.code for flag in image.flags}


def text_of(image: CtImage, code: Code) -> str:
    return " ".join(flag.text for flag in image.flags if flag.code is code)
