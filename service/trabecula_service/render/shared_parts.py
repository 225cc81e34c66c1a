"""Parts that several documents show (the picture, the PDF) are made once per input, not once per document."""

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from trabecula_service.render.document_input import DocumentInput

Made = TypeVar("Made")


def once_per_input(make: Callable[[DocumentInput], Made]) -> Callable[[DocumentInput], Made]:
    """The same function, which remembers what it made for as long as the input lives; its result must not be changed."""
    made: WeakKeyDictionary[DocumentInput, Made] = WeakKeyDictionary()

    def remembered(document_input: DocumentInput) -> Made:
        if document_input not in made:
            made[document_input] = make(document_input)
        return made[document_input]

    remembered.__doc__ = make.__doc__
    return remembered
