"""Synthetic CT: label scenes from public anatomy, warps, intensities and scanner effects.

`scene_set.build_scenes` builds the scenes, `case.write_synthetic_case` writes one CT with its labels.
"""

__all__ = ["write_synthetic_case"]


def __getattr__(name: str) -> object:
    if name == "write_synthetic_case":  # torch and nibabel only when asked for
        from trabecula_models.synthesis.case import write_synthetic_case

        return write_synthetic_case
    raise AttributeError(name)
