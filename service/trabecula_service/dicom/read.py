"""Reads an input (DICOM folder, file, zip, NIfTI) into one CT volume, choosing among its series and acquisitions by rules."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import InputError
from trabecula_service.choose.companions import companions
from trabecula_service.choose.kinds import Refusal, sop_class_of, why_no_volume
from trabecula_service.choose.rules import ChoiceRules, default_rules, reasons_against
from trabecula_service.dicom import header as tags
from trabecula_service.dicom.assemble import check_rescale, read_stack
from trabecula_service.dicom.candidates import FEWEST_SLICES, Candidate, apartness, candidate_of
from trabecula_service.dicom.files import InputFile, input_files, kind_of_file, read_header
from trabecula_service.dicom.image import CtImage, NotEvaluableError
from trabecula_service.dicom.nifti import read_nifti
from trabecula_service.dicom.pixels import decode_file
from trabecula_service.dicom.slices import SliceRecord, slices_of
from trabecula_service.dicom.stacks import stacks_of
from trabecula_service.result import Flag, flag


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateList:
    """What an input offers: ``usable`` best first, ``refused`` with reasons, and how many objects of which kind were no CT images.

    ``cut`` holds series and file of CT images that end before their pixel data, ``broken`` the files that cannot be parsed.
    """

    usable: tuple[Candidate, ...]
    refused: tuple[Candidate, ...] = ()
    ignored: tuple[tuple[str, int], ...] = ()
    cut: tuple[tuple[str, InputFile], ...] = ()
    nifti: InputFile | None = None
    refusals: tuple[Refusal, ...] = ()
    broken: tuple[InputFile, ...] = ()
    rules: ChoiceRules = field(default_factory=default_rules)

    def companions(self, chosen: Candidate) -> tuple[Candidate, ...]:
        """The series that show the rest of the spine beside the chosen one; none where one series shows it all."""
        region = chosen.region
        others = [(other, other.region) for other in self._one_of_each_series(chosen)]
        placed = [(other, place) for other, place in others if place is not None]
        if region is None or not placed:
            return ()
        return tuple(placed[index][0] for index in companions(region, [place for _, place in placed]))

    def _one_of_each_series(self, chosen: Candidate) -> list[Candidate]:
        """Of each other series, best first, the acquisition that was made together with the chosen one where it holds several."""
        series: dict[str, list[Candidate]] = {}
        for candidate in self.usable:
            if candidate.series_instance_uid != chosen.series_instance_uid:
                series.setdefault(candidate.series_instance_uid, []).append(candidate)
        together = [min(acquisitions, key=lambda one: apartness(one, chosen)) for acquisitions in series.values()]
        return sorted(together, key=self.usable.index)

    def read(self, candidate: Candidate) -> CtImage:
        """Decode one candidate; its flags name the others and why they were not preferred."""
        image = self.decode(candidate)
        return replace(image, flags=(*image.flags, *self.flags_about_others(candidate)))

    def decode(self, candidate: Candidate) -> CtImage:
        """Decode one candidate, without a word about the others."""
        for uid, file in self.cut:
            if uid in ("", candidate.series_instance_uid):
                raise _cut(file)
        with quiet():
            return read_stack(candidate.stack)

    def flags_about_others(self, chosen: Candidate, beside: Sequence[Candidate] = ()) -> tuple[Flag, ...]:
        """One flag for each that is not used, with the reason; ``beside`` are measured together with the chosen one."""
        others = [other for other in (*self.usable, *self.refused) if other not in (chosen, *beside)]
        return tuple(self._flag_about(other, chosen, beside) for other in others if len(other.stack.slices) >= FEWEST_SLICES)

    def _flag_about(self, other: Candidate, chosen: Candidate, beside: Sequence[Candidate]) -> Flag:
        same_series = next((known for known in (chosen, *beside) if known.series_instance_uid == other.series_instance_uid), None)
        count, reason = len(other.stack.slices), why_not(other, same_series or chosen, self.rules)
        series = "A series without number" if other.series_number is None else f"Series {other.series_number}"
        if same_series is None:
            return flag(Code.OTHER_SERIES, f"{series}, {count} slices: {reason}.")
        if same_series is not chosen:
            return flag(Code.OTHER_ACQUISITION, f"{series}, acquisition {other.acquisition_number}, {count} slices: {reason}.")
        name = "Images of the same series" if other.acquisition_number is None else f"Acquisition {other.acquisition_number}"
        return flag(Code.OTHER_ACQUISITION, f"{name}, {count} slices: {reason}.")

    def images(self) -> Iterator[CtImage]:
        """The images best first, each decoded only when it is asked for."""
        return (image for image, _ in self.offers())

    def offers(self) -> Iterator[tuple[CtImage, Candidate | None]]:
        """The images best first with what they were read from (None for NIfTI), each decoded only when it is asked for."""
        if self.nifti is not None:
            yield read_nifti(self.nifti.path, self.nifti.name), None
        for candidate in self.usable:
            yield self.read(candidate), candidate


def _cut(file: InputFile) -> InputError:
    return InputError("DECODE_FAILED: the file ends before its pixel data", where=file.name, hint="send the series again")


def why_not(other: Candidate, chosen: Candidate, rules: ChoiceRules) -> str:
    """Why ``other`` is not measured where ``chosen`` is, in a few words."""
    if other.refusal is not None:
        return other.refusal.detail.rstrip(".")
    if other.facts is None or chosen.facts is None:
        return "no place in space"
    better = other.points > chosen.points
    return "preferred by the rules, but not chosen" if better else "; ".join(reasons_against(other.facts, chosen.facts, rules))


@contextmanager
def quiet() -> Iterator[None]:
    """The parser warns of each departure from the standard; we judge the values ourselves and say what matters in flags and errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def open_input(
    path: Path, *, series_uid: str | None = None, acquisition_number: int | None = None, rules: ChoiceRules | None = None
) -> Iterator[CandidateList]:
    """What an input offers, best first; a zip stays unpacked until the context ends, so read candidates inside it.

    ``rules`` rate the series; those of the package where not given.

    Raises
    ------
    InputError
        Nothing readable is there, the wanted series or acquisition is not, or the input holds images of several patients (exit code 2).
    NotEvaluableError
        Readable, but no CT volume is among it (exit code 3).
    """
    with input_files(path) as files:
        kinds = {file: kind_of_file(file.path) for file in files}
        niftis = [file for file, kind in kinds.items() if kind == "nifti"]
        dicoms = [file for file, kind in kinds.items() if kind == "dicom"]
        if niftis and not dicoms:
            if len(niftis) > 1:
                raise InputError("the input holds more than one NIfTI file", where=path.name, hint="give one file")
            yield CandidateList(usable=(), nifti=niftis[0])
            return
        if not dicoms:
            instead = f"{len(files)} other files" if files else "the folder is empty"
            hint = "give a DICOM folder, a DICOM or NIfTI file, or a zip"
            raise InputError(f"no DICOM or NIfTI file ({instead})", where=path.name, hint=hint)
        with quiet():
            found = survey(dicoms, path.name, series_uid, acquisition_number, rules)
            require_usable(found, path.name, series_uid)
            yield found


def list_candidates(path: Path) -> CandidateList:
    """What an input offers, for a look; to read from a zip use ``open_input``."""
    with open_input(path) as found:
        return found


def read_input(path: Path, *, series_uid: str | None = None, acquisition_number: int | None = None) -> CtImage:
    """The best CT volume of an input, or the one asked for.

    Raises
    ------
    InputError
        Unreadable: nothing there, damaged, or of a transfer syntax that cannot be decoded here (exit code 2).
    NotEvaluableError
        Readable, but nothing to measure (exit code 3).
    """
    with open_input(path, series_uid=series_uid, acquisition_number=acquisition_number) as found:
        return next(found.images())


def survey(
    files: Sequence[InputFile],
    where: str,
    series_uid: str | None = None,
    acquisition_number: int | None = None,
    rules: ChoiceRules | None = None,
) -> CandidateList:
    """What DICOM files offer, rated and ranked, refused ones included; nothing usable is no error here.

    Raises
    ------
    InputError
        The wanted acquisition is not among them.
    """
    series: dict[str, list[SliceRecord]] = {}
    refusals: list[Refusal] = []
    broken: list[InputFile] = []
    cut: list[tuple[str, InputFile]] = []
    for file in files:
        header = read_header(file)
        if header is None:
            broken.append(file)
            continue
        if sop_class_of(header) == "1.2.840.10008.1.3.10":  # DICOMDIR names images, it is none
            continue
        uid = tags.uid(header, "SeriesInstanceUID")
        if series_uid is not None and uid != series_uid:
            continue
        refusal = why_no_volume(header)
        if refusal is None and not tags.integer(header, "Rows"):
            cut.append((uid, file))
            continue
        records = [] if refusal else slices_of(file, header)
        of_frames = [why_no_volume(record.header) for record in records]
        series.setdefault(uid, []).extend(record for record, reason in zip(records, of_frames, strict=True) if reason is None)
        refusal = refusal or next((reason for reason in of_frames if reason is not None), None)
        if refusal is not None:
            refusals.append(refusal)
    rules = rules or default_rules()
    candidates = [candidate_of(stack, rules) for records in series.values() for stack in stacks_of(records)]
    if acquisition_number is not None:
        candidates = _of_acquisition(candidates, acquisition_number, where, rules)
    ranked = sorted(candidates, key=lambda c: (-c.points, -len(c.stack.slices), c.series_number or 0, c.series_instance_uid))
    ignored = Counter([*(refusal.detail for refusal in refusals), *("a file that cannot be parsed" for _ in broken)])
    return CandidateList(
        usable=tuple(candidate for candidate in ranked if candidate.refusal is None),
        refused=tuple(candidate for candidate in ranked if candidate.refusal is not None),
        ignored=tuple(sorted(ignored.items())),
        cut=tuple(cut),
        refusals=tuple(refusals),
        broken=tuple(broken),
        rules=rules,
    )


def require_usable(found: CandidateList, where: str, series_uid: str | None = None) -> None:
    """Refuse, with the reason that explains it best, an input of which nothing can be measured, or that mixes patients.

    Raises
    ------
    InputError, NotEvaluableError
    """
    if not found.usable:
        if found.cut and not found.refused:
            raise _cut(found.cut[0][1])
        _refuse(found.refused, found.refusals, found.broken, where, series_uid)
    _check_one_patient(found.usable, where)


def _of_acquisition(candidates: list[Candidate], wanted: int, where: str, rules: ChoiceRules) -> list[Candidate]:
    chosen = [candidate for candidate in candidates if candidate.acquisition_number == wanted]
    if chosen:
        return chosen
    for candidate in candidates:
        part = tuple(record for record in candidate.stack.slices if record.acquisition_number == wanted)
        if part:
            chosen.append(candidate_of(replace(candidate.stack, slices=part, acquisition_number=wanted), rules))
    if not chosen:
        numbers = sorted({r.acquisition_number for c in candidates for r in c.stack.slices if r.acquisition_number is not None})
        known = ", ".join(map(str, numbers)) or "none is numbered"
        raise InputError(f"acquisition {wanted} is not in the input", where=where, hint=f"choose one of: {known}")
    return chosen


def _check_one_patient(usable: Sequence[Candidate], where: str) -> None:
    """Refuse an input with images of several patients: the report of one must never show the bones of another."""
    patients = {tags.text(record.header, "PatientID") for candidate in usable for record in candidate.stack.slices}
    if len(patients - {""}) > 1:
        raise InputError("the input holds images of more than one patient", where=where, hint="give one study, or choose with --series")


def _refuse(
    ranked: Sequence[Candidate], refusals: Sequence[Refusal], broken: Sequence[InputFile], source: str, series_uid: str | None
) -> NoReturn:
    """Raise the error that explains best why nothing can be measured."""
    if ranked:
        best = max(ranked, key=lambda c: (len(c.stack.slices), c.points))
        if best.refusal is None:
            raise InputError("a usable candidate was refused", where=source, hint="report this")
        # A cut or undecodable image is the better explanation than that it is alone.
        for record in best.stack.slices[:FEWEST_SLICES]:
            decode_file([record])
        where = f"series {best.series_instance_uid or 'without UID'}"
        check_rescale(best.stack, where)
        alike = [c for c in ranked if c.series_instance_uid == best.series_instance_uid and c.refusal == best.refusal]
        repeats = f" There are {len(alike)} such sets in the series." if len(alike) > 1 else ""
        raise NotEvaluableError(best.refusal.code, where=where, detail=best.refusal.detail + repeats)
    if refusals:
        counted = Counter(refusals).most_common()
        detail = ", ".join(f"{refusal.detail.rstrip('.')} ({count})" for refusal, count in counted)
        raise NotEvaluableError(counted[0][0].code, where=source, detail=f"Found: {detail}.")
    if series_uid is not None:
        raise InputError("the series is not in the input", where=f"series {series_uid}", hint="leave --series out to let the rules choose")
    if broken:
        raise InputError("no DICOM file could be parsed", where=broken[0].name, hint="the files are damaged or no DICOM; send them again")
    raise InputError("the input holds no image", where=source, hint="give the folder with the images, not only its index")
