"""The configuration of a run: read from YAML into immutable objects, unknown keys refused.

Every section is a class; ``Run`` holds them all.
"""

from distill.config.load import load_config, save_config
from distill.config.run import Evaluation, FilterConfig, Run
from distill.config.section import Section
from distill.config.sources import CHANGES, Change, Cleaning, Personal, Texts
from distill.config.stages import (
    FAMILIES,
    OF_KNOWDIST,
    PERSPECTIVES,
    Attributes,
    Family,
    ICLDist,
    KnowDist,
    Perspective,
)
from distill.config.teachers import (
    Asking,
    DecisionsTeacherConfig,
    GoldTeacherConfig,
    HfTeacher,
    OpenAITeacherConfig,
    ReplayTeacherConfig,
    ServerTeacherConfig,
    TeacherConfig,
    VllmTeacher,
)
from distill.config.training import (
    BestCheckpoint,
    Difficulty,
    ICLDistTraining,
    KnowDistTraining,
    Lora,
    Training,
)

__all__ = ["Attributes", "Evaluation", "FilterConfig", "ICLDist", "KnowDist", "Run", "Section"]
__all__ += ["CHANGES", "Asking", "Change", "Cleaning", "Personal", "Texts"]
__all__ += ["FAMILIES", "OF_KNOWDIST", "PERSPECTIVES", "Family", "Perspective"]
__all__ += ["GoldTeacherConfig", "HfTeacher", "OpenAITeacherConfig", "ReplayTeacherConfig"]
__all__ += ["DecisionsTeacherConfig", "ServerTeacherConfig", "TeacherConfig", "VllmTeacher"]
__all__ += ["BestCheckpoint", "Difficulty", "ICLDistTraining", "KnowDistTraining", "Lora"]
__all__ += ["Training", "load_config", "save_config"]
